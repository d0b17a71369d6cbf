"""``make compare``: what is left of an environment when its installer is killed.

Poetry without and with the plugin, uv and pip install the same wheels, are killed in the
same way, and run again as if nothing had happened. Linux with a C compiler.
"""

from __future__ import annotations
