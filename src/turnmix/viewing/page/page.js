"use strict";
// Shows the trajectories of the page. All texts become text nodes; none is read as markup.

const SHOWN_AT_ONCE = 150;
const UNFOLDED_LINES = 4;
const ACTORS = { s: "student", t: "teacher", a: "accident" };
const [KEY, RUN, SET, TASK, ITERATION, WHO, LABELS, STOP, OUTCOME, MODE] = Array(10).keys();

const byId = (id) => document.getElementById(id);
const { runs, sets, rows } = JSON.parse(byId("rows").textContent);
const places = new Map(rows.map((row, place) => [row[KEY], place]));
const filters = ["run", "set", "iteration", "outcome", "stop", "mode", "deviated", "task", "search"];
let chosen = [];
let shown = 0;
let open = null;
let bodies = null;
let lowered = null;

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function body(place) {
  bodies ??= JSON.parse(byId("bodies").textContent);
  return bodies.trajectories[place];
}

// ---- search: every number in a body is the place of a text

function holds(value, found) {
  if (typeof value === "number") return found.has(value);
  if (value === null || typeof value !== "object") return false;
  return (Array.isArray(value) ? value : Object.values(value)).some((member) => holds(member, found));
}

function textsWith(needle) {
  body(0);
  lowered ??= bodies.texts.map((text) => text.toLowerCase());
  const found = new Set();
  lowered.forEach((text, place) => { if (text.includes(needle)) found.add(place); });
  return found;
}

const needleNow = () => byId("search").value.trim().toLowerCase();

// ---- list

function isWanted(row) {
  const is = (id, value) => byId(id).value === "" || byId(id).value === String(value);
  const differs = row[WHO].includes("S");
  const wanted = byId("deviated").value;
  return is("run", row[RUN]) && is("set", row[SET]) && is("iteration", row[ITERATION]) && is("outcome", row[OUTCOME])
    && is("stop", row[STOP]) && is("mode", row[MODE])
    && (wanted === "" || (row[LABELS] && differs === (wanted === "yes")))
    && row[TASK].toLowerCase().includes(byId("task").value.trim().toLowerCase());
}

function filter() {
  const needle = needleNow();
  const found = needle ? textsWith(needle) : null;
  chosen = [];
  rows.forEach((row, place) => {
    if (isWanted(row) && (found === null || holds(body(place), found))) chosen.push(place);
  });
  byId("count").textContent = `${chosen.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} trajectories`;
  byId("list").replaceChildren();
  shown = 0;
  showMore();
}

function showMore() {
  const until = Math.min(chosen.length, shown + SHOWN_AT_ONCE);
  const items = chosen.slice(shown, until).map(listed);
  byId("list").append(...items);
  shown = until;
  byId("more").hidden = shown === chosen.length;
  byId("more").textContent = `Show more (${(chosen.length - shown).toLocaleString("en")} left)`;
  return items[0];
}

function listed(place) {
  const row = rows[place];
  const link = make("a", "", make("span", "task", row[TASK]), outcome(row), make("span", "about", about(row)), strip(row));
  link.href = "#" + encodeURIComponent(row[KEY]).replaceAll("%2F", "/");
  link.dataset.place = place;
  if (place === open) link.setAttribute("aria-current", "true");
  return make("li", "", link);
}

const outcome = (row) => make("span", "outcome " + row[OUTCOME].replace(" ", "-"), row[OUTCOME]);

function about(row) {
  const iteration = row[ITERATION] === 0 ? "base student" : `iteration ${row[ITERATION]}`;
  const told = [`${row[WHO].length} turns`, row[MODE] ?? row[STOP], iteration, sets[row[SET]]];
  if (runs.length > 1) told.unshift(runs[row[RUN]]);
  return told.join(" · ");
}

function described(letter) {
  const actor = ACTORS[letter.toLowerCase()] ?? "actor";
  return actor + (letter === letter.toUpperCase() ? ", the teacher would have done something else" : "");
}

function tick(element, letter) {
  const lower = letter.toLowerCase();
  element.className = `t ${lower === "t" ? "t-teacher" : lower}${letter === lower ? "" : " differs"}`;
  return element;
}

function strip(row) {
  const element = make("span", "strip", ...[...row[WHO]].map((letter) => tick(make("i"), letter)));
  const differing = [...row[WHO]].filter((letter) => letter === "S").length;
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", row[LABELS] ? `the student differs from the teacher in ${differing} turns` : "no labels");
  return element;
}

// ---- one trajectory

function written(text) {
  const needle = needleNow();
  const fragment = document.createDocumentFragment();
  const lower = needle ? text.toLowerCase() : "";
  let from = 0;
  // Where lower case is longer than the text, places in it are other ones.
  while (needle && lower.length === text.length) {
    const at = lower.indexOf(needle, from);
    if (at < 0) break;
    fragment.append(text.slice(from, at), make("mark", "", text.slice(at, at + needle.length)));
    from = at + needle.length;
  }
  fragment.append(text.slice(from));
  return fragment;
}

const textAt = (place) => bodies.texts[place];

function folded(text, className, isOpen = false) {
  const lines = text.split("\n");
  if (lines.length <= UNFOLDED_LINES && text.length < 400) return make("pre", className, written(text));
  const first = lines.find((line) => line.trim()) ?? "";
  const summary = make("summary", "", make("span", "first", first.slice(0, 100)), ` … ${lines.length} lines`);
  const details = make("details", className, summary);
  const fill = () => { if (details.open && details.childElementCount === 1) details.append(make("pre", "", written(text))); };
  details.addEventListener("toggle", fill);
  const needle = needleNow();
  details.open = isOpen || (needle !== "" && text.toLowerCase().includes(needle));
  fill();
  return details;
}

function message(told, className) {
  const parts = [];
  if (told.text !== undefined) parts.push(folded(textAt(told.text), className, className === "prose"));
  for (const [name, given] of told.calls ?? []) {
    const call = make("div", "call", make("div", "tool", written(textAt(name))));
    for (const [key, value] of given) {
      call.append(make("div", "argument", make("div", "key", textAt(key)), make("pre", "", written(textAt(value)))));
    }
    parts.push(call);
  }
  if (told.malformed !== undefined) parts.push(make("p", "malformed", "malformed: ", written(textAt(told.malformed))));
  return parts;
}

function actionOf(told) {
  const parts = message(told, "prose");
  return parts.length ? parts : [make("p", "note", "(says nothing)")];
}

function turn(told, letter, number) {
  const actor = ACTORS[letter.toLowerCase()] ?? "actor";
  const who = make("div", `who ${actor}`, make("span", "number", `turn ${number}`), make("span", "", actor));
  const said = make("div", "said", ...actionOf(told.action));
  if (told.label) {
    said.append(make("div", "label", make("div", "title", "the teacher would have done"), ...actionOf(told.label)));
  } else if (actor !== "teacher" && rows[open][LABELS] && !told.unlabelled) {
    who.append(make("span", "agreement", "= teacher"));
  }
  for (const seen of told.seen) said.append(...message(seen, "seen"));
  if (told.marks !== undefined) who.append(make("span", "agreement", textAt(told.marks)));
  const section = make("section", "turn", who, said);
  section.id = `turn-${number}`;
  section.tabIndex = -1;
  section.setAttribute("aria-label", `turn ${number}, ${described(letter)}`);
  if (told.label) section.dataset.differs = "yes";
  return section;
}

function opening(told) {
  if (told.opening === undefined) return [];
  const begins = make("section", "turn", make("div", "who prompt", "line"), make("div", "said", make("p", "note", textAt(told.opening))));
  return [begins, ...told.opened.map(prompt)];
}

function prompt(told) {
  return make("section", "turn", make("div", "who prompt", told.role), make("div", "said", ...message(told, "seen")));
}

function head(row, told) {
  const back = make("button", "", "← All trajectories");
  back.type = "button";
  back.id = "back";
  back.addEventListener("click", close);
  const turns = [...row[WHO]].map((letter, place) => {
    const button = tick(make("button"), letter);
    button.type = "button";
    button.setAttribute("aria-label", `turn ${place + 1}: ${described(letter)}`);
    button.addEventListener("click", () => goTo(byId(`turn-${place + 1}`)));
    return button;
  });
  const beta = told.beta === undefined ? "" : ` · β ${told.beta}`;
  return make("header", "", back, make("h3", "", row[TASK]),
    make("div", "row", outcome(row), make("span", "note", `${row[KEY]} · ${about(row)}${beta}`)),
    make("span", "strip", ...turns));
}

function ending(row, told) {
  const said = make("div", "said", outcome(row));
  if (told.verdict !== undefined && textAt(told.verdict)) said.append(make("p", "prose", written(textAt(told.verdict))));
  if (told.error !== undefined) said.append(make("p", "malformed", "infra_error: ", written(textAt(told.error))));
  for (const [name, value] of told.details ?? []) {
    said.append(make("div", "", make("div", "tool", textAt(name)), folded(textAt(value), "seen", true)));
  }
  return make("section", "turn", make("div", "who prompt", "verdict"), said);
}

function goTo(element) {
  if (!element) return;
  element.scrollIntoView({ block: "start" });
  element.focus({ preventScroll: true });
}

function show(place, isFocused) {
  open = place;
  const row = rows[place];
  const told = body(place);
  byId("opened").replaceChildren(head(row, told), ...told.prompt.map(prompt),
    ...told.turns.flatMap((each, number) => [...opening(each), turn(each, row[WHO][number], number + 1)]), ending(row, told));
  document.body.classList.add("is-open");
  markOpen();
  if (isFocused) {
    const isFar = byId("opened").getBoundingClientRect().top < 0 || window.innerWidth < 928;
    if (isFar) byId("browser").scrollIntoView({ block: "start" });
    byId("opened").focus({ preventScroll: true });
  }
}

function markOpen() {
  for (const link of byId("list").querySelectorAll("a")) {
    if (Number(link.dataset.place) === open) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function close() {
  const place = open;
  history.pushState(null, "", "#trajectories");
  follow();
  (byId("list").querySelector(`a[data-place="${place}"]`) ?? byId("search")).focus();
}

function follow() {
  let key = location.hash.slice(1);
  try { key = decodeURIComponent(key); } catch { /* an address that is none leads nowhere */ }
  const place = places.get(key);
  if (place !== undefined) { show(place, true); return; }
  open = null;
  document.body.classList.remove("is-open");
  byId("opened").replaceChildren(empty);
  markOpen();
}

// ---- keyboard

function move(step) {
  const links = [...byId("list").querySelectorAll("a")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const from = at >= 0 ? at : links.findIndex((link) => link.hasAttribute("aria-current"));
  let next = links[Math.max(0, from + step)];
  if (!next && !byId("more").hidden) next = showMore()?.querySelector("a");
  next?.focus();
}

function nextDifference() {
  const turns = [...byId("opened").querySelectorAll("[data-differs]")];
  const at = document.activeElement;
  goTo(turns.find((each) => at.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING && !at.contains(each))
    ?? (byId("opened") === at || !turns.includes(at) ? turns[0] : null));
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input, select, textarea");
  if (event.key === "Escape") {
    if (isTyping) event.target.blur();
    else if (open !== null) close();
    return;
  }
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const isInList = byId("list").contains(event.target);
  const keys = { j: () => move(1), k: () => move(-1), "/": () => byId("search").focus(), d: nextDifference };
  if (isInList) Object.assign(keys, { ArrowDown: keys.j, ArrowUp: keys.k });
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

// ---- beginning

function offer(id, all, values, named) {
  const select = byId(id);
  select.append(new Option(all, ""), ...values.map((value) => new Option(named(value), value)));
  select.closest("label").hidden = values.length < 2;
}

function offerAll() {
  const distinct = (field) => [...new Set(rows.map((row) => row[field]))].filter((value) => value !== null);
  offer("run", "all", distinct(RUN), (place) => runs[place]);
  offer("set", "all", distinct(SET), (place) => sets[place]);
  offer("iteration", "all", distinct(ITERATION).sort((a, b) => a - b), (number) => (number === 0 ? "base" : String(number)));
  offer("outcome", "all", distinct(OUTCOME).sort(), String);
  offer("stop", "all", distinct(STOP).sort(), String);
  offer("mode", "all", distinct(MODE).sort(), String);
  byId("deviated").closest("label").hidden = !rows.some((row) => row[LABELS]);
}

function themes() {
  const button = byId("theme");
  const names = ["system", "light", "dark"];
  const set = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
    try { localStorage.setItem("turnmix-theme", name); } catch { /* a file may not remember */ }
  };
  let kept = null;
  try { kept = localStorage.getItem("turnmix-theme"); } catch { /* as above */ }
  let now = Math.max(0, names.indexOf(kept));
  set(names[now]);
  button.hidden = false;
  button.addEventListener("click", () => { now = (now + 1) % names.length; set(names[now]); });
}

const empty = byId("opened").firstElementChild;
let waiting = null;
themes();
if (rows.length) {
  offerAll();
  byId("browser").hidden = false;
  for (const id of filters) {
    byId(id).addEventListener("input", () => { clearTimeout(waiting); if (id === "search") waiting = setTimeout(filter, 150); else filter(); });
  }
  byId("reset").addEventListener("click", () => { clearTimeout(waiting); for (const id of filters) byId(id).value = ""; filter(); });
  byId("more").addEventListener("click", () => showMore()?.querySelector("a")?.focus());
  window.addEventListener("hashchange", follow);
  filter();
  follow();
}
