"""``make bench``: what protection costs, and what it gains.

Every workload is run in turn (A B A B …) unprotected, protected, behind ``flock(1)``,
as people do today, and with uv for scale where that makes sense.
"""

from __future__ import annotations
