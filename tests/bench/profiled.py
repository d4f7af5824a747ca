"""Run an agent under cProfile: `profiled.py -m agents.ha CONFIG`; prints to the agent's log."""

import cProfile
import importlib
import pstats
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
module = importlib.import_module(sys.argv[2])
agent = module.prepare(Path(sys.argv[3]))
profile = cProfile.Profile()
profile.runcall(agent.run)
pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)
