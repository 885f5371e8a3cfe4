"""The command `reasondistill` in processes that need not import everything anew: forked from one that has.

For tests that start the command many times, or kill it. It is the same command in a process of its own; only what Python reads when it starts is shared.
The process that forks must not have computed with several threads, nor looked at a GPU, for neither comes along."""
import os, signal, sys

from reasondistill.command import main


def _become(args, env, into):
    "Be the command, and nothing after it"
    code = 3
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for fd in (1, 2): os.dup2(into, fd)
        sys.stdin, sys.stdout, sys.stderr = open(os.devnull), *(open(fd, 'w', encoding='utf-8', buffering=1) for fd in (1, 2))
        os.environ.update(env)
        code = main(args)
        for said in (sys.stdout, sys.stderr): said.flush()
    finally: os._exit(code)


class Forked:
    "`reasondistill` with `args` in a process of its own, with `env` added to its environment; what it says is read from `stdout`"
    def __init__(self, args, env=None):
        out, into = os.pipe()
        self.pid, self.returncode = os.fork(), None
        if not self.pid: _become(list(args), env or {}, into)
        os.close(into)
        self.stdout = open(out, encoding='utf-8')

    def poll(self, how=os.WNOHANG):
        "Its exit code, below zero the signal that ended it; None while it lives"
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            if pid: self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self): return self.poll(0)

    def kill(self):
        "End it without warning"
        if self.poll() is None: os.kill(self.pid, signal.SIGKILL)
        self.stdout.close()
        return self.wait()

    def finish(self):
        "Let it end: exit code, and what it said"
        with self.stdout: said = self.stdout.read()
        return self.wait(), said
