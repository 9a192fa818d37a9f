"""The report in a real Chromium: opened, filtered, searched, read by keyboard, in both themes, narrow and wide; and
nothing in it runs that an agent wrote."""

import re
import shutil
from dataclasses import replace

import pytest

import branching
import turnmix
from reported_runs import DIFFERING, LOOK, ROLLOUTS, hostile_run, make_run, many, trajectory, turn
from turnmix.core.verdict import Verdict

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'turnmix[browser]'"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")

# A browser hands out these events when it comes to them: here always late, so that a test that does not wait fails.
LATE_EVENTS = """
const listen = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (type, told, ...rest) {
  const isLate = ["toggle", "hashchange"].includes(type);
  return listen.call(this, type, isLate ? (event) => setTimeout(told, 50, event) : told, ...rest);
};
"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """By name: a run with an accident in it beside another, a run of strangers, and one of 10,000 turns."""
    folder = tmp_path_factory.mktemp("reports")
    accident = trajectory(
        "i002-00001",
        LOOK,
        turn("accident", DIFFERING.action, label=LOOK.action),
        DIFFERING,
        iteration=2,
        task="train-9",
    )
    ours = [make_run(folder / "first", [*ROLLOUTS, accident]), make_run(folder / "second", resolved=(1, 2))]
    runs = {
        "two runs": ours,
        "hostile": [hostile_run(folder / "hostile")],
        "lines": [make_run(folder / "lines", [lines()])],
        "large": [make_run(folder / "large", many(500, 20))],
    }
    return {name: turnmix.report(paths, output=folder / f"{name}.html") for name, paths in runs.items()}


def lines():
    """A branching scaffold's, its first turn labelled, then a line that begins anew."""
    made = branching.branching()
    made.turns[0] = replace(made.turns[0], label=made.turns[0].action)
    made.open(None, 0, branching.user("<b>again</b>"), repeats=1)
    return replace(made.trajectory(), id="i001-00000", verdict=Verdict(resolved=True))


@pytest.fixture
def opened(browser, reports):
    """Opens a report; at the end the console must have been silent, and nothing asked for from elsewhere."""
    contexts, told = [], []

    def open_report(name="two runs", *, width=1280, theme="light", behind=""):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme))
        contexts[-1].add_init_script(LATE_EVENTS)
        page = contexts[-1].new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: told.append(dialog.message))
        page.on("request", lambda request: request.url.startswith("file:") or told.append(request.url))
        page.goto(f"file://{reports[name]}{behind}")
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert told == []


def listed(page):
    return [link.get_attribute("href") for link in page.locator("#list a").all()]


def count(page):
    return page.locator("#count").inner_text()


def expect_count(page, number):
    """Search waits for the end of typing."""
    sync_api.expect(page.locator("#count")).to_have_text(re.compile(f"^{number} of "))


def follow(link):
    """A page opens what a link leads to in an event of its own, and marks the link last."""
    link.click()
    expect_open(link)


def expect_open(link):
    sync_api.expect(link).to_have_attribute("aria-current", "true")


def test_filters_leave_what_is_asked_for(opened):
    page = opened()
    assert count(page) == "31 of 31 trajectories"
    page.select_option("#deviated", label="differ somewhere")
    assert count(page) == "5 of 31 trajectories"
    page.select_option("#run", label="first")
    page.select_option("#iteration", label="2")
    assert listed(page) == ["#i002-00000", "#i002-00001"]
    page.select_option("#stop", label="stuck")
    assert listed(page) == ["#i002-00000"]
    page.get_by_role("button", name="Reset").click()
    page.select_option("#set", label="evaluation")
    page.select_option("#outcome", label="not submitted")
    assert count(page) == "15 of 31 trajectories"
    page.fill("#task", "holdout-5")
    assert page.locator("#list .task").all_inner_texts() == ["holdout-5"] * 4


def test_a_trajectory_shows_where_its_lines_begin_and_which_turns_were_rejected_or_asked_again(opened):
    page = opened("lines", behind="#i001-00000")
    said = page.locator("#opened section.turn").all_inner_texts()
    assert [text.split("\n")[-1] for text in said if text.startswith("line")] == [
        "a line begins with the first message of what turn 1 led to",
        "a line goes on from turn 1",
        "a line goes on from turn 1",
        "a line begins",
    ]
    assert any("(what turn 1 did)" in text for text in said)
    assert any("<b>again</b>" in text for text in said)
    who = page.locator("#opened .who .agreement").all_inner_texts()
    assert who == ["= teacher", "rejected", "asked 2 times"]


def test_search_finds_words_of_labels_and_marks_them_where_they_stand(opened):
    page = opened()
    page.fill("#search", "PYTHON3 run_tests")
    expect_count(page, 5)
    follow(page.locator("#list a").first)
    assert set(page.locator("#opened mark").all_inner_texts()) == {"python3 run_tests"}


def test_a_trajectory_shows_who_acted_each_turn_and_what_the_teacher_would_have_done(opened):
    page = opened(behind="#i002-00001")
    assert page.locator("#opened .who span:nth-child(2)").all_inner_texts()[:3] == [
        "teacher",
        "accident",
        "student",
    ]
    labels = page.locator("#opened .label")
    assert labels.count() == 2
    assert "the teacher would have done" in labels.nth(1).inner_text()
    assert "python3 run_tests.py" in labels.nth(1).inner_text()
    observation = page.locator("#turn-3 details.seen")
    assert "40 lines" in observation.inner_text()
    assert "line 39" not in observation.inner_text()
    observation.locator("summary").click()
    sync_api.expect(observation).to_contain_text("line 39 of a long answer")


def test_all_can_be_done_by_keyboard(opened):
    page = opened()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.select_option("#deviated", label="differ somewhere")
    page.locator("body").press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.getAttribute('href')")
    assert focused == listed(page)[1]
    page.keyboard.press("Enter")
    expect_open(page.locator("#list a").nth(1))
    assert page.url.endswith(focused)
    page.keyboard.press("d")
    assert page.evaluate("document.activeElement.dataset.differs") == "yes"
    page.keyboard.press("Escape")
    assert page.locator("#opened .turn").count() == 0
    assert page.evaluate("document.activeElement.getAttribute('href')") == focused


def test_each_control_and_plot_has_a_name_for_those_who_do_not_see_it(opened):
    page = opened(behind="#i002-00001")
    for control in page.locator("select, input, button, svg, [role=search]").all():
        name = control.evaluate(
            "e => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent"
        )
        assert name.strip(), control.evaluate("e => e.outerHTML")
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(("name", "task"), [("two runs", "train-2"), ("hostile", "</script>")])
def test_no_page_is_wider_than_its_window(opened, width, name, task):
    page = opened(name, width=width)
    is_wider = "document.documentElement.scrollWidth > window.innerWidth"
    assert not page.evaluate(is_wider)
    follow(page.locator("#list a", has_text=task).first)
    assert not page.evaluate(is_wider)


def test_on_a_narrow_window_an_opened_trajectory_takes_the_place_of_the_list(opened):
    page = opened(width=390)
    follow(page.locator("#list a").first)
    assert not page.locator("#list").is_visible()
    page.get_by_role("button", name="All trajectories").click()
    assert page.locator("#list").is_visible()


def test_the_theme_is_the_systems_until_it_is_chosen_and_plots_follow_it(opened):
    dark, light = opened(theme="dark"), opened(theme="light")
    colours = (
        "[document.body, document.querySelector('svg .stroke-s0')]"
        ".map(e => getComputedStyle(e)).map(s => s.backgroundColor + s.stroke)"
    )
    of_dark, of_light = dark.evaluate(colours), light.evaluate(colours)
    assert all(one != other for one, other in zip(of_dark, of_light))
    light.get_by_role("button", name="Theme").click()
    assert light.evaluate(colours) == of_light
    light.get_by_role("button", name="Theme").click()
    assert light.evaluate(colours) == of_dark


def test_nothing_that_an_agent_wrote_runs_in_it(opened):
    page = opened("hostile")
    title = page.title()
    for link in page.locator("#list a").all():
        page.evaluate("href => { location.hash = href }", link.get_attribute("href"))
        expect_open(link)
    follow(page.locator("#list a", has_text="</script>"))
    told = page.locator("#opened").inner_text()
    assert "<script>document.title='ran'</script>" in told
    assert "\\u202e" in told
    assert "\u202e" not in told
    assert page.title() == title
    assert page.locator("img, iframe, object, embed, script[src], a[href^='javascript']").count() == 0
    assert page.locator("#opened script").count() == 0


def test_the_policy_stops_a_script_that_a_fault_of_the_page_would_let_in(browser, reports):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"file://{reports['two runs']}")
    attack = '<img src="data:," onerror="window.ran = 1"><a href="javascript:ran=1">x</a>'
    page.evaluate("attack => document.body.insertAdjacentHTML('beforeend', attack)", attack)
    page.locator("a", has_text="x").last.evaluate("e => e.click()")
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    context.close()


def test_of_ten_thousand_turns_only_what_is_looked_at_is_laid_out(opened):
    page = opened("large")
    assert count(page) == "512 of 512 trajectories"
    assert page.locator("#list a").count() == 150
    assert page.evaluate("document.querySelectorAll('*').length") < 8000
    page.get_by_role("button", name="Show more (362 left)").click()
    assert page.locator("#list a").count() == 300
    page.fill("#search", "499 19")
    expect_count(page, 1)
