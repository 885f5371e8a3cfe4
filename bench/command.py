"""How long the way in takes: import, help, doctor.

    python bench/command.py [--rounds 5]

Each is timed as its user meets it, as a process of its own, on one thread, the least of several rounds: the least is what the command takes on a machine
that is doing nothing else. `python_s` is an interpreter that does nothing; it is part of all the others. Beside the wall time stands what the processor worked, which
does not depend on what else the machine is doing.
The last line is one JSON object: python_s, import_s, help_s, run_help_s, doctor_s (seconds of wall time), the same with _cpu_s (seconds of processor time), help_modules
(modules that the help loads)."""
import argparse, json, os, resource, subprocess, sys, time

ENV = dict(os.environ, OMP_NUM_THREADS='1')
IN = dict(python_s=['-c', 'pass'], import_s=['-c', 'import reasondistill'], help_s=['-m', 'reasondistill', '--help'],
          run_help_s=['-m', 'reasondistill', 'run', '--help'], doctor_s=['-m', 'reasondistill', 'doctor'])
COUNT = "import sys; from reasondistill.command import main; main(['--help']); print(len(sys.modules), any(m in sys.modules for m in ('pydantic', 'torch', 'numpy', 'hydra')))"


def worked():
    "Processor time of all processes that this one has waited for"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime+used.ru_stime


def seconds(args, rounds):
    "The least wall time and the least processor time of a Python process with `args`"
    def once():
        start, before = time.perf_counter(), worked()
        p = subprocess.run([sys.executable, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENV)
        if p.returncode not in (0, 1) or 'Traceback' in p.stderr: sys.exit(p.stderr)
        return time.perf_counter()-start, worked()-before
    return [round(min(took), 3) for took in zip(*(once() for _ in range(rounds)))]


if __name__ == '__main__':
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument('--rounds', type=int, default=5)
    rounds = parse.parse_args().rounds
    took = {}
    for k, a in IN.items(): took[k], took[k.replace('_s', '_cpu_s')] = seconds(a, rounds)
    n, heavy = subprocess.run([sys.executable, '-c', COUNT], capture_output=True, text=True, check=True).stdout.split()[-2:]
    if heavy == 'True': sys.exit('the help loads pydantic, torch, numpy or hydra')
    print(json.dumps(took | dict(help_modules=int(n))))
