# make demo     train the embedded student with DAgger; the run lies in runs/demo
# make shift    the comparison that the README shows: 30 runs and their analyses; hours, and it goes on where it was stopped
# make worlds   the comparison of resolved tasks in BabyAI: a teacher of logits, then 30 runs and their analyses
# make test     lint, types and all tests; with TURNMIX_LONG_TESTS=1 also those that take minutes, with =all the longest too
# make tests    the tests alone
# make student  make the embedded student's base checkpoint again, from nothing
# make teacher  make the embedded local teacher, nano-teacher, again: a student that DAgger has trained
# make babyai-student  make the embedded student of BabyAI again, from random walks
# make gpu-record  measure on this machine's GPU, in ten minutes; the table lies in runs/gpu-record
# make venv     the environment alone
# make newest   try the newest release of every dependency; if all tests pass, `constraints.txt` holds them from then on
# make oldest   try the oldest releases that `pyproject.toml` allows

PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
CONSTRAINTS ?= constraints.txt
LEVELS := tasks.levels=BabyAI-GoToLocal-v0,BabyAI-PutNextLocal-v0,BabyAI-UnlockPickup-v0
WORLD := tasks.levels=BabyAI-UnlockPickup-v0 tasks.max_turns=48 tasks.seed=3 student.model=babyai-student \
  student.cohort_size=50 student.max_new_tokens=24 rollouts.concurrency=100 iterations=4 data.dataset=fresh \
  rollouts.tasks_per_iteration=256 learner.batch_size=2 learner.schedule=cosine evaluation.tasks=100
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo shift worlds babyai-student test tests lint student teacher gpu-record venv newest oldest bubblewrap
.DEFAULT_GOAL := demo

demo: venv bubblewrap
	@RUN="$(RUN)" BIN="$(BIN)" sh scripts/demo.sh

shift: venv bubblewrap
	$(BIN)/turnmix sweep comparisons/shift.yaml --output runs/shift --jobs 2
	$(BIN)/turnmix compare runs/shift
	$(BIN)/turnmix report runs/shift -o runs/shift/report.html --plots runs/shift/plots

worlds: venv
	$(BIN)/turnmix train babyai $(WORLD) mixture.decay=0.25 mixture.floor=0.2 --run runs/babyai-teacher
	$(BIN)/turnmix sweep comparisons/worlds.yaml --output runs/worlds --jobs 2
	$(BIN)/turnmix compare runs/worlds
	$(BIN)/turnmix report runs/worlds -o runs/worlds/report.html --plots runs/worlds/plots

test: lint tests

tests: venv bubblewrap
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

student: venv
	$(BIN)/python -m turnmix.nano.pretrain --output src/turnmix/nano/checkpoint

babyai-student: venv
	$(BIN)/python -m turnmix.nano.pretrain babyai $(LEVELS) --trajectories 600 \
	  --copying-tokens 600000 --tokens 600000 --output src/turnmix/nano/babyai

teacher: venv bubblewrap
	$(BIN)/turnmix train minirepo_dagger mixture.decay=0.25 mixture.floor=0.2 --run runs/teacher
	@mkdir -p src/turnmix/nano/teacher
	@checkpoint=$$(ls -d runs/teacher/checkpoints/iteration-* | tail -n 1); \
	for file in src/turnmix/nano/checkpoint/*; do cp $$checkpoint/$${file##*/} src/turnmix/nano/teacher/; done

gpu-record: venv
	$(BIN)/python benchmarks/gpu_record.py --out $(or $(OUT),runs/gpu-record)

newest oldest:
	@$(PYTHON) scripts/try_versions.py $@ $(if $(TORCH),--torch "$(TORCH)") --python "$(PYTHON)"

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml scripts/make_venv.sh $(CONSTRAINTS)
	@PYTHON="$(PYTHON)" VENV="$(VENV)" CONSTRAINTS="$(CONSTRAINTS)" sh scripts/make_venv.sh
	@touch $@

bubblewrap:
	@command -v bwrap >/dev/null || sh scripts/apt_install.sh bubblewrap
