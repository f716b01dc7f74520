"""Takes away what only Linux has, in every interpreter that starts with this folder in PYTHONPATH (`make elsewhere`).

The names are those that typeshed, the standard library's types, knows on Linux and not on macOS, and the locks of open
file descriptions. What cannot be taken away is said in docs/ways-to-run.md. `mypy --platform darwin` (`make types`)
finds what else is used.
"""

import fcntl
import os
import posix
import resource
import select
import signal
import sys
import time

GONE = {
    fcntl: ("F_OFD_", "F_SETPIPE", "F_GETPIPE", "F_ADD_SEALS", "F_GET_SEALS", "F_SEAL_", "F_NOTIFY", "F_SETSIG",
            "F_GETSIG", "F_SETLK64", "F_SETLKW64", "F_GETLK64", "F_SHLCK", "F_EXLCK", "DN_", "LOCK_MAND", "LOCK_READ",
            "LOCK_WRITE", "LOCK_RW"),
    os: ("posix_fallocate", "posix_fadvise", "POSIX_FADV_", "pidfd_open", "P_PIDFD", "waitid", "WNOWAIT", "eventfd",
         "EFD_", "memfd_create", "MFD_", "copy_file_range", "splice", "SPLICE_", "fdatasync", "getrandom", "GRND_",
         "getxattr", "listxattr", "setxattr", "removexattr", "XATTR_", "pipe2", "sched_get", "sched_set", "sched_rr_",
         "SCHED_BATCH", "SCHED_IDLE", "SCHED_RESET", "O_LARGEFILE", "O_NOATIME", "O_PATH", "O_RSYNC",
         "O_TMPFILE", "RWF_", "RTLD_DEEPBIND", "getresuid", "getresgid", "setresuid", "setresgid", "setns", "unshare",
         "timerfd_", "TFD_", "login_tty_", "POSIX_SPAWN_CLOSEFROM"),
    select: ("epoll", "EPOLL", "POLLRDHUP", "POLLMSG"),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo", "struct_siginfo"),
    time: ("CLOCK_BOOTTIME", "CLOCK_TAI", "pthread_getcpuclockid"),
    resource: ("prlimit", "RUSAGE_THREAD", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_OFILE", "RLIMIT_RT",
               "RLIMIT_SIGPENDING"),
}  # fmt: skip
GONE[posix] = GONE[os]
SCHED_KEPT = ("sched_get_priority_min", "sched_get_priority_max")  # macOS has these two

for module, beginnings in GONE.items():
    for name in dir(module):
        if name.startswith(beginnings) and name not in SCHED_KEPT:
            delattr(module, name)


def no_proc(event, arguments):
    """Let no module of ours list or open what is in /proc; psutil, which stands in for it, needs it here."""
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("/proc"):
        frame = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").startswith(("pathlib", "os", "io")):
            frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").startswith("zerowait."):
            raise FileNotFoundError(2, "there is no /proc elsewhere", str(arguments[0]))


sys.addaudithook(no_proc)


class NoChildrensTimes:
    """Finds psutil when it is imported first, and lets it say of children's CPU time what it says on macOS: nothing."""

    def find_spec(self, name, path=None, target=None):
        if name != "psutil":
            return None
        sys.meta_path.remove(self)
        import psutil

        told = psutil.Process.cpu_times
        psutil.Process.cpu_times = lambda process: told(process)._replace(children_user=0.0, children_system=0.0)
        return psutil.__spec__


sys.meta_path.insert(0, NoChildrensTimes())
