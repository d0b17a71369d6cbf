"""Which of two packages writes a file that both bring."""

from __future__ import annotations

import threading

from cleo.io.buffered_io import BufferedIO

from poetry_plugin_safe_install.environments.same_files import SharedFiles


def test_the_last_one_wins_whoever_comes_first() -> None:
    for first, second in ((("alpha", 1), ("beta", 2)), (("beta", 2), ("alpha", 1))):
        io = BufferedIO()
        files = SharedFiles(io)
        assert files.begin("shared/data.txt", *first)
        files.end("shared/data.txt")
        assert files.begin("shared/data.txt", *second) is (second[0] == "beta")
        files.report()
        assert "alpha and beta both bring data.txt" in io.fetch_error()
        files.report()
        assert io.fetch_error() == ""


def test_one_of_its_own_is_no_conflict() -> None:
    io = BufferedIO()
    files = SharedFiles(io)
    for _ in range(2):
        assert files.begin("data.txt", "alpha", 1)
        files.end("data.txt")
    files.report()
    assert io.fetch_error() == ""


def test_nobody_writes_while_another_does() -> None:
    files = SharedFiles(BufferedIO())
    assert files.begin("data.txt", "alpha", 1)
    entered = threading.Event()

    def write() -> None:
        files.begin("data.txt", "beta", 2)
        entered.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    assert not entered.wait(0.1)
    files.end("data.txt")
    assert entered.wait(60)
    thread.join()
