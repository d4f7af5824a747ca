# Every verb a user types; `make` alone prints them. Run it from the repository's root.
# Recipes end in `exec`: the program itself is then the outermost process of its run, and its end,
# however it comes, ends everything it started.

VENV ?= .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
KNOWN := TRIALS SEED QUICK CAPTURE TOPO SET FAULT DETECTION SCHEME ARGS NODE LINK NAME VENV

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

# What stood on the command line as NAME=value and is no name of ours: a slip of the fingers.
empty :=
space := $(empty) $(empty)
given := $(foreach each,$(subst \$(space),_,$(MAKEOVERRIDES)),$(firstword $(subst =, ,$(each))))
unknown := $(filter-out $(KNOWN),$(given))
ifneq ($(unknown),)
$(error unknown variable $(firstword $(unknown)); known: $(KNOWN))
endif

# The stamp says which folder it was made for: a moved repository is set up anew.
ifneq ($(wildcard $(READY)),)
ifneq ($(file <$(READY)),$(CURDIR))
.PHONY: $(READY)
endif
endif

$(READY): requirements.txt topologies/setup.sh
	@sh topologies/setup.sh "$(VENV)"

# make ends with 2 when a recipe fails, whatever its code was, and with 1 only under --question. So
# a doctor that finds the machine degraded is asked twice (0.3 s).
DOCTOR = command -v /usr/bin/python3 >/dev/null || { \
    echo "manyhomes: /usr/bin/python3 is missing: \`make setup\` installs it" >&2; exit 2; }; \
    /usr/bin/python3 -m topologies.doctor "$(VENV)"
ifeq ($(MAKECMDGOALS),doctor)
ifeq ($(shell { $(DOCTOR); } >/dev/null 2>&1; echo $$?),1)
MAKEFLAGS += --question
endif
endif

# What is written under `sudo make` belongs to the calling user; bytecode caches would be root's.
ifneq ($(SUDO_UID),)
export PYTHONDONTWRITEBYTECODE := 1
endif

##@ Measure
.PHONY: failover throughput renewal replay metric catchment optimisation synchronisation hijack multi-hoa \
    siege isolation
failover: $(READY)  ## outage when a home agent fails, or an AS (TOPO=multi_as); a plot (10 minutes)
	@exec $(PYTHON) -m experiments.failover

throughput: $(READY)  ## TCP goodput through the tunnel, and with 1, 2, 3 home agents; a plot
	@exec $(PYTHON) -m experiments.throughput

renewal: $(READY)  ## keys from IKE: registration, renewal under traffic, takeover; a plot (5 minutes)
	@exec $(PYTHON) -m experiments.renewal

replay: $(READY)  ## attacks on shared security associations: draft, draft-cbc, hardened; a plot
	@exec $(PYTHON) -m experiments.replay

metric: $(READY)  ## a mobile node chooses its home agent; two that disagree; a plot (4 minutes)
	@exec $(PYTHON) -m experiments.metric

catchment: $(READY)  ## which home agent serves whom, and a tour of the MN; a map [TOPO=multi_hoa]
	@exec $(PYTHON) -m experiments.catchment

multi-hoa: $(READY)  ## a whole AS fails: one home address for all ASes, or one for each; a plot (8 minutes)
	@exec $(PYTHON) -m experiments.multi_hoa

optimisation: $(READY)  ## detours to correspondents: switch, relay, map, predictions; a plot (20 minutes)
	@exec $(PYTHON) -m experiments.optimisation

synchronisation: $(READY)  ## messages and octets that keep 1 to 8 home agents equal (seconds)
	@exec $(PYTHON) -m experiments.synchronisation

hijack: $(READY)  ## who may announce the prefix: ROAs, filters, a hijacker; a plot (4 minutes)
	@exec $(PYTHON) -m experiments.hijack

siege: $(READY)  ## floods of forged and replayed packets, and who feels them; a plot (6 minutes)
	@exec $(PYTHON) -m experiments.siege

isolation: $(READY)  ## a home agent turns hostile: time until it is powerless; a plot (10 minutes)
	@exec $(PYTHON) -m experiments.isolation

##@ Look around
.PHONY: lab shell sniff mn graph
lab: $(READY)  ## Figure 1 up, with a prompt [TOPO=multi_as NAME=… SET='has=5 mns=2']
	@exec $(PYTHON) -m experiments.lab

shell: $(READY)  ## a shell in a running lab's node: NODE=HA1 [NAME=…]
	@exec $(PYTHON) -m topologies.visit shell

sniff: $(READY)  ## packets of a running lab's link: LINK=HA1-r1 [NAME=…], pcap where not a terminal
	@exec $(PYTHON) -m topologies.visit sniff

mn: $(READY)  ## plain Mininet on a topology file, no agents: TOPO=single_as [ARGS='--test pingall']
	@exec env MANYHOMES_NAME=$(NAME) $(VENV)/bin/mn \
	    --custom topologies/$(or $(TOPO),single_as).py --topo $(or $(TOPO),single_as) $(ARGS)

graph: $(READY)  ## the topology as SVG [TOPO=single_as]
	@exec $(PYTHON) -m topologies.graph

##@ Keep it well
.PHONY: setup doctor test test-long lint clean help
setup: $(READY)  ## install what is missing (every verb does that by itself, the first time)

doctor:  ## what this machine can and cannot do, with the cure; exit code 0, 1 or 2
	+@$(DOCTOR)

# Two workers: emulations on one, all else on the other (tests/side_by_side.py).
test: $(READY)  ## unit, property and emulation tests [ARGS='-k word']
	@exec $(PYTHON) -m pytest -n 2 $(ARGS)

test-long: $(READY)  ## what takes longer: soak, chaos, fuzzing, a clean root [ARGS='-k word']
	@exec $(PYTHON) -m pytest -m long $(ARGS)

lint: $(READY)  ## ruff and mypy
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && exec $(VENV)/bin/mypy

clean:  ## remove the virtual environment and caches (not results/)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find agents topologies experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -e "$(READY)" ]; then rm -rf "$(VENV)"; fi

help:
	@awk -f topologies/help.awk $(MAKEFILE_LIST)
