"""Runs a Python script with a clock that counts processor seconds of all threads, not those that pass.

    python cpu_clock.py SCRIPT [ARGUMENT …]

For `bench --clock cpu --against "python bench/cpu_clock.py SCRIPT … --json"`: on a busy machine the
time that passes says more about the neighbours than about the program.
"""
import runpy
import sys
import time

time.perf_counter = time.process_time
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
