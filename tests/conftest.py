"""What every test relies on, however the suite was started."""

from __future__ import annotations

import signal

# A shell without job control starts background jobs with SIGINT ignored, and they hand that on to all their children:
# those that a test interrupts would then never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
