"""Figures that can be touched: they show what the modules say, and live in a real browser."""

import re

import nbformat
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from browser import chromium, needs_browser
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import DRAWS, draw, randomise
from laws import reach as law_of_reach
from nbconvert import HTMLExporter
from torch import nn

from gmlp import (
    AxiallyFold,
    CausalLocalSGU,
    CausalSGU,
    LanguageModel,
    SpatialGatingUnit,
    generate,
    gMLPGPT,
)
from gmlp.viz import (
    Array,
    Figure,
    Panel,
    Texts,
    Variable,
    axial_folding,
    causal_probe,
    filtered_chances,
    filters,
    generation,
    gradient_by_depth,
    jacobian,
    local_windows,
    receptive_field,
    receptive_fields,
    sgu_row,
    training_weights,
)
from gmlp.viz.axial_folding import mixing_fold
from gmlp.viz.causal_masking import moves, visible
from gmlp.viz.figure import LIMIT, PICTURE
from gmlp.viz.full_model import by_depth, listener
from gmlp.viz.gallery import FIGURES, stack
from gmlp.viz.reach import gradients, jacobian_of, reach
from gmlp.viz.reversible_layers import live_bytes

NAMES = list(FIGURES)
few = settings(DRAWS, max_examples=DRAWS.max_examples // 5 + 20)  # 30, 120 of the slow ones


@pytest.fixture(scope="module")
def figures():
    return {name: make() for name, make in FIGURES.items()}


# ---- what is shown ----


@st.composite
def models(draw):
    """Any model of the course, with weights that let everything through that may pass."""
    n, depth = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    window = st.sampled_from([None, 1, 2, 3, 5])
    model = gMLPGPT(
        num_tokens=5,
        dim=4,
        depth=depth,
        seq_len=draw(st.integers(n, 14)),
        ff_mult=2,
        heads=draw(st.sampled_from([1, 2])),
        reversible=draw(st.booleans()),
        window=tuple((draw(window), draw(st.integers(1, 3))) for _ in range(depth)),
        attn_dim=tuple(draw(st.sampled_from([None, 2])) for _ in range(depth)),
    ).double()
    seed = draw(st.integers(0, 10**6))
    generator = torch.Generator().manual_seed(seed)
    return randomise(model, seed), torch.randint(5, (n,), generator=generator)


@DRAWS
@given(models())
def test_what_is_foretold_is_what_the_gradients_and_a_changed_token_say(drawn):
    model, tokens = drawn
    n = len(tokens)
    foretold = reach(model.blocks, n)
    assert torch.equal(jacobian_of(model, tokens) != 0, foretold)
    assert torch.equal(by_depth(model, tokens)[-1] != 0, foretold)
    moved = moves(model, tokens).T != 0  # (output, changed)
    assert not (moved & ~foretold).any()
    assert moved.diagonal().all()


@few
@given(models())
def test_the_frames_are_the_measured_numbers(drawn):
    model, tokens = drawn
    text = bytes(tokens.tolist())
    figure = jacobian(model, tokens)
    shown = figure.arrays["measured"]
    assert torch.equal(torch.tensor(shown.codes > 1), jacobian_of(model, tokens) != 0)
    assert (
        figure.arrays["allowed"].codes == 1 + 254 * reach(model.blocks, len(tokens)).numpy()
    ).all()
    probe = causal_probe({"it": model}, text).arrays["moved0"]
    assert torch.equal(torch.tensor(probe.codes > 1), moves(model, tokens) != 0)


@DRAWS
@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1),
    st.sampled_from(["sequential", "diverging"]),
    st.booleans(),
)
def test_a_level_stands_for_its_number(values, colours, log):
    given_values = torch.tensor(values, dtype=torch.float64)
    given_values = given_values.abs().where(given_values.abs() > 1e-6, 0) if log else given_values
    array = Array(given_values, ("x",), "sequential" if log else colours, log=log)
    step = (array.high - array.low) / 250
    for value, code in zip(given_values.tolist(), array.codes.tolist(), strict=True):
        back = array.value(code)
        if log:
            assert (back == 0) == (value == 0)
            assert value == 0 or abs(torch.tensor(back / value).log10()) <= step
        else:
            assert abs(back - value) <= step
        assert (array.codes[given_values.numpy() == 0] == (1 if log else array.codes[0])).all() or (
            not log
        )


def test_zero_stands_in_the_middle_of_a_diverging_scale_and_nan_apart():
    codes = Array(torch.tensor([-3.0, 0.0, 1.0, torch.nan, torch.inf]), ("x",), "diverging").codes
    assert codes.tolist() == [1, 128, 170, 0, 0]


def test_weights_that_are_nan_are_drawn_as_nan():
    model = stack(CausalSGU, depth=1, seq_len=8)
    unit = model.blocks[0].fn.fn.sgu
    with torch.no_grad():
        unit.weight[0, 5, 2] = torch.nan
    matrix = unit.mixing_matrix(8)
    for codes in (
        filters({"W": matrix[0]}).arrays["W"].codes[0],
        training_weights([0], [matrix], [8.0]).arrays["W"].codes[0],
    ):
        assert (codes == 0).nonzero() == ([5], [2])
    assert (jacobian(model, b"abcdefgh").arrays["measured"].codes[5] == 0).all()


@pytest.mark.parametrize("make", [jacobian, causal_probe])
def test_more_positions_than_a_figure_bears_are_refused_by_name(make):
    model = LanguageModel(256, 4, 200, nn.Sequential())
    with pytest.raises(ValueError, match=rf"{make.__name__} draws .* at most 128.*got 129"):
        make(model, b"x" * 129)
    with pytest.raises(ValueError, match=r"receptive_field draws .* at most 128.*got 129"):
        receptive_field(model, 129)


def one(**more):
    """A small figure of noise, which does not compress."""
    n = more.pop("n", 8)
    noise = torch.rand(n, n, n, generator=torch.Generator().manual_seed(0))
    settings = {
        "title": "noise",
        "alt": "noise",
        "variables": [Variable("k", n, "k")],
        "arrays": {"noise": Array(noise, ("k", "y", "x"))},
        "panels": [Panel("grid", "noise", x="x", y="y", array="noise", alt="noise")],
        "note": "{k}",
    }
    return Figure(**settings | more)


def test_a_figure_without_words_too_large_or_at_odds_with_itself_is_refused():
    assert repr(one()) == "noise"
    with pytest.raises(ValueError, match="alt="):
        one(alt=" ")
    with pytest.raises(ValueError, match=r"takes \d+,\d+ bytes, a page bears 100,000.*'k': 64"):
        one(n=64)
    with pytest.raises(ValueError, match="noise has 8 along k, which is 9 long"):
        one(variables=[Variable("k", 9, "k")])
    with pytest.raises(ValueError, match="2 dimensions want as many names"):
        Array(torch.zeros(2, 2), ("x",))
    with pytest.raises(ValueError, match="negative"):
        Array(torch.tensor([-1.0]), ("x",), log=True)


def test_hostile_words_stay_words():
    figure = one(alt='"><b>x', note="</script><script>alert(1)</script>{k}")
    assert figure.html.count("<script") == figure.html.count("</script>") == 1
    assert "<b>" not in figure.html


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_small_enough_and_the_same_each_time(figures, name):
    figure = figures[name]
    assert len(figure.html) <= LIMIT
    assert len(figure.html) - len(figure.script) <= PICTURE
    assert figure.png.startswith(b"\x89PNG")
    without_data = re.compile(r"base64,[A-Za-z0-9+/=]+")
    if name != "reversible_memory":  # measured
        assert without_data.sub("", FIGURES[name]().html) == without_data.sub("", figure.html)


@few
@given(st.integers(1, 20), st.lists(st.integers(1, 24), min_size=1, max_size=3))
def test_local_windows_are_those_of_the_unit(n, windows):
    figure = local_windows(n, windows)
    for k, window in enumerate(windows):
        unit = randomise(CausalLocalSGU(4, n, window=window), seed=k).double()
        assert torch.equal(shown(figure, "reads")[k], law_of_reach(unit, draw(1, n, 4, seed=k)))


@few
@given(st.integers(1, 20), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_folds_are_those_of_the_module(n, folds):
    figure = axial_folding(n, folds)
    for k, every in enumerate(folds):
        fold = mixing_fold(every, n)
        mixed, joined = shown(figure, "reads")[k]
        assert torch.equal(joined, reach(AxiallyFold(2, every, CausalSGU(2, n)), n))
        assert torch.equal(joined, law_of_reach(fold, draw(1, n, 2, seed=k)))
        place = torch.arange(n)
        assert torch.equal(mixed, ((place[:, None] - place) % every == 0).tril())
        assert (figure.arrays["residue"].codes[k] == 1 + place.numpy() % every).all()


@few
@given(
    st.integers(1, 14), st.integers(1, 3), st.sampled_from([1, 2, 5]), st.sampled_from([1, 2, 3])
)
def test_receptive_fields_grow_with_depth_as_foretold(n, depth, window, fold):
    figure = receptive_fields(n, depth, [window], [fold])
    model = listener(n, depth, window, fold)
    for k in range(depth):
        foretold = reach(nn.Sequential(*list(model.blocks)[: k + 1]), n)
        assert torch.equal(shown(figure, "reads")[0, 0, k], foretold)


@few
@given(st.integers(1, 9), st.sampled_from([1, 2]), st.integers(1, 2), st.booleans())
def test_a_row_at_work_ends_at_the_unit_s_output(n, heads, each, causal):
    kind = CausalSGU if causal else SpatialGatingUnit
    unit = randomise(kind(2 * heads * each, n, heads=heads), seed=n)
    x = draw(n, 2 * heads * each, seed=n, dtype=torch.float32)
    figure = sgu_row(unit, x)
    with torch.no_grad():
        out = unit(x[None])[0]
    for position in range(n):
        for channel in range(heads * each):
            said = figure.text("out", {"position": position, "channel": channel})
            assert float(said.replace("−", "-")) == pytest.approx(
                out[position, channel].item(), abs=6e-3
            )


def test_a_row_at_work_takes_a_unit_of_your_own_and_says_what_it_cannot_show():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(2)
            self.weight, self.bias = torch.rand(3, 3), torch.rand(3)

        def forward(self, x):
            u, v = x.chunk(2, dim=-1)
            return (self.weight @ self.norm(v) + self.bias[:, None]) * u

    unit, x = Own(), torch.rand(3, 4)
    last = f"{unit(x[None])[0, 2, 0]:.2f}".replace("-", "−")
    assert sgu_row(unit, x).text("out", {"position": 2, "channel": 0}) == last
    with pytest.raises(ValueError, match=r"16 positions and 8 channels.*\(17, 4\)"):
        sgu_row(CausalSGU(4, 17), torch.rand(17, 4))
    with pytest.raises(ValueError, match="squashes it by Tanh"):
        sgu_row(CausalSGU(4, 3, act=nn.Tanh()), x)


@DRAWS
@given(st.integers(1, 9), st.integers(0, 1000))
def test_gradients_by_depth_are_those_given(depth, seed):
    generator = torch.Generator().manual_seed(seed)
    heard = {
        name: [
            (torch.rand(k, generator=generator) * 10 + 1e-6).tolist() for k in range(1, depth + 1)
        ]
        for name in ("a", "b")
    }
    figure = gradient_by_depth(heard)
    arrays = [figure.arrays["kind0"], figure.arrays["kind1"]]
    assert arrays[0].low == arrays[1].low and arrays[0].high == arrays[1].high  # one scale
    for array, stacks in zip(arrays, heard.values(), strict=True):
        step = 10 ** ((array.high - array.low) / 250)  # they are kept as powers of ten
        for codes, of_layers in zip(array.codes.tolist(), stacks, strict=True):
            assert codes[len(of_layers) :] == [0] * (depth - len(of_layers))
            for code, value in zip(codes, of_layers, strict=False):
                assert 1 / step < 10 ** array.value(code) / value < step
    share = heard["b"][-1][0] / heard["b"][-1][-1]
    assert float(figure.text("kind1share", {"depth": depth - 1})) == pytest.approx(share, rel=0.06)
    with pytest.raises(ValueError, match=r"stacks of 1 to 2; 'a' has \[1, 1\]"):
        gradient_by_depth({"a": [[1.0], [1.0]]})


@pytest.mark.parametrize("attn_dim", [None, 4])
def test_a_replay_is_what_generate_writes(attn_dim):
    torch.manual_seed(0)
    model = gMLPGPT(num_tokens=128, dim=8, depth=2, seq_len=20, attn_dim=attn_dim)
    figure = generation(model, "ab", 12, temperature=0.9, seed=3)
    generator = torch.Generator().manual_seed(3)
    written = generate(model, torch.tensor([97, 98]), 12, temperature=0.9, generator=generator)
    last = [figure.text("written", {"step": 11, "place": place}) for place in range(14)]
    assert last == [visible(token) for token in written.tolist()]
    with torch.no_grad():
        chances = (model(written[None, :7])[0, -1] / 0.9).softmax(-1)  # of the sixth byte written
    array = figure.arrays["likely"]
    assert array.value(int(array.codes[5, 0])) == pytest.approx(chances.max().item(), abs=3e-3)
    row = model.blocks[1].fn.fn.sgu.mixing_matrix(14)[0, 6]
    array = figure.arrays["row"]
    codes = array.codes[5, 1].tolist()
    assert codes[7:] == [0] * 7
    half = array.high / 250
    assert [array.value(code) for code in codes[:7]] == pytest.approx(row[:7].tolist(), abs=half)
    assert (len([name for name in figure.arrays if name.startswith("look")]) > 0) == bool(attn_dim)
    with pytest.raises(ValueError, match="this has none"):
        generation(gMLPGPT(num_tokens=128, dim=8, depth=1, seq_len=20, window=4), "ab", 5)


@few
@given(st.integers(1, 12), st.floats(0.1, 5), st.integers(0, 1000))
def test_filtered_chances_are_those_of_the_bytes_that_stay(k, temperature, seed):
    logits = draw(12, seed=seed, dtype=torch.float32)

    def cut(row):
        return row.masked_fill(row < row.topk(k).values[-1], -torch.inf)

    filters = {"none": lambda row: row, "top-k": cut}
    figure = filtered_chances(logits, filters, [temperature, 1.0], after="x", top=5)
    assert [figure.text("stay", {"T": 0, "filter": f}) for f in (0, 1)] == ["12", str(k)]
    best = (logits / temperature).sort(descending=True).values
    array = figure.arrays["chance"]
    for f, kept in enumerate((best, best[:k])):
        chances = (kept.softmax(-1).tolist() + [0.0] * 5)[:5]
        shown = [array.value(int(code)) for code in array.codes[0, f]]
        assert shown == pytest.approx(chances, abs=3e-3)
    with pytest.raises(ValueError, match="above 0; got 0"):
        filtered_chances(logits, filters, [1.0, 0.0], after="x")


def test_bytes_alive_are_counted_from_birth_to_death():
    model = nn.Sequential(nn.Embedding(3, 256), nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid())
    one = 2 * 256 * 4  # bytes of what each part makes
    timeline = live_bytes(model, torch.tensor([[0, 1]]))
    # Each Sigmoid keeps its output for the backward pass, which nobody needs the embedding's for.
    assert 3 * one <= max(timeline) <= 5 * one + 64  # and some scalars
    assert timeline[-1] <= one
    deep = nn.Sequential(nn.Embedding(3, 256), *(nn.Sigmoid() for _ in range(30)))
    assert 30 * one <= max(live_bytes(deep, torch.tensor([[0, 1]]))) <= 32 * one + 64


def shown(figure, name):
    """A boolean array, as the figure has it."""
    return torch.tensor(figure.arrays[name].codes == 255)


# ---- in a real browser ----


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def files(figures, tmp_path_factory):
    """Each figure as a page of its own, and all of them in an exported notebook, no kernel."""
    folder = tmp_path_factory.mktemp("figures")
    notebook = nbformat.v4.new_notebook()
    for name, figure in figures.items():
        figure.save(folder / f"{name}.html")
        data = {"text/html": figure.html, "text/plain": repr(figure)}
        output = nbformat.v4.new_output("execute_result", data, execution_count=1)
        notebook.cells.append(nbformat.v4.new_code_cell(name, outputs=[output], execution_count=1))
    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url="")
    (folder / "notebook.html").write_text(exporter.from_notebook_node(notebook)[0], "utf-8")
    return folder


def opened(browser, path, **options):
    """The page, and everything that goes wrong on it or is asked of the network."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)

    def refuse(route):
        page.faults.append(route.request.url)
        route.abort()

    page.route(lambda url: not url.startswith("file:"), refuse)
    page.goto(path.as_uri())
    if options.get("java_script_enabled", True):
        page.wait_for_function(
            "[...document.querySelectorAll('.gmlp-viz')].every(h => h.querySelector('output'))"
        )
    return page


@needs_browser
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_lives_without_a_network(browser, files, name):
    page = opened(browser, files / f"{name}.html")
    assert page.faults == []
    assert page.locator("img").is_hidden()
    assert page.locator("canvas").count() > 0
    assert Axe().run(page).response["violations"] == []
    said = page.locator("output").inner_text
    before = said()
    assert "{" not in before and "undefined" not in before
    slider = page.locator("input").first  # the keyboard
    slider.focus()
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    if said() == before:  # it stood at its left end
        slider.press("ArrowRight")
    assert said() != before
    moved = page.evaluate(  # the pointer, all over all panels
        """() => {
            const said = new Set(), times = [];
            for (const canvas of document.querySelectorAll("canvas")) {
                const box = canvas.getBoundingClientRect();
                for (let k = 1; k < 20; k++) {
                    const x = box.x + box.width * k / 20, y = box.y + box.height * k / 20;
                    const at = {clientX: x, clientY: y}, start = performance.now();
                    canvas.dispatchEvent(new PointerEvent("pointermove", at));
                    times.push(performance.now() - start);
                    said.add(document.querySelector("output").textContent);
                }
            }
            times.sort((a, b) => a - b);
            return [said.size, times[Math.floor(times.length / 2)]];
        }"""
    )
    assert moved[0] > 1
    assert page.faults == []
    page.context.close()


@needs_browser
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_follows_the_theme_and_fits_a_telephone(browser, files, name):
    page = opened(
        browser,
        files / f"{name}.html",
        color_scheme="dark",
        viewport={"width": 400, "height": 800},
    )
    host = page.locator(".gmlp-viz")
    assert host.get_attribute("data-theme") == "dark"
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert Axe().run(page).response["violations"] == []
    page.emulate_media(color_scheme="light")
    page.wait_for_function("document.querySelector('.gmlp-viz').dataset.theme == 'light'")
    assert page.faults == []
    page.context.close()


@needs_browser
def test_all_figures_live_in_an_exported_notebook(browser, files):
    page = opened(browser, files / "notebook.html")
    assert page.faults == []
    assert page.locator(".gmlp-viz canvas").count() >= 2 * len(NAMES)
    assert page.locator(".gmlp-viz img:visible").count() == 0
    page.context.close()


@needs_browser
@pytest.mark.parametrize("name", NAMES)
def test_without_scripts_a_picture_with_words_stands_there(browser, files, figures, name):
    page = opened(browser, files / f"{name}.html", java_script_enabled=False)
    image = page.locator("img")
    assert image.is_visible()
    assert image.get_attribute("alt") == repr(figures[name])
    assert image.bounding_box()["width"] > 300
    page.context.close()


@needs_browser
def test_a_square_of_128_answers_within_50_ms(browser, tmp_path):
    n = 128
    model = stack(CausalSGU, depth=1, seq_len=n)
    causal_probe(model, bytes(65 + k % 26 for k in range(n))).save(tmp_path / "large.html")
    page = opened(browser, tmp_path / "large.html")
    times = page.evaluate(
        """() => {
            const canvas = document.querySelector(".gmlp-grid canvas");
            const box = canvas.getBoundingClientRect();
            return Array.from({length: 40}, (_, k) => {
                const at = {clientX: box.x + 50 + 5 * k, clientY: box.y + 50};
                const start = performance.now();
                canvas.dispatchEvent(new PointerEvent("pointermove", at));
                return performance.now() - start;
            }).sort((a, b) => a - b);
        }"""
    )
    print(f"median {times[20]:.1f} ms, slowest {times[-1]:.1f} ms")
    assert times[20] < 50
    page.context.close()


@needs_browser
def test_what_is_painted_is_what_the_array_holds(browser, tmp_path):
    """The colour of every cell, read back from the canvas, in both themes."""
    figure = one(alt="colours")
    figure.save(tmp_path / "colours.html")
    for theme in ("light", "dark"):
        page = opened(browser, tmp_path / "colours.html", color_scheme=theme)
        for k in (0, 5):
            page.locator("input").fill(str(k))
            painted = page.evaluate(
                """() => {
                    const canvas = document.querySelector("canvas");
                    const pen = canvas.getContext("2d"), cell = 34;
                    const all = [...Array(8).keys()], at = k => (k + .5) * cell;
                    const pixel = (x, y) => [...pen.getImageData(x, y, 1, 1).data].slice(0, 3);
                    return all.map(j => all.map(i => pixel(36 + at(i), 2 + at(j))));
                }"""
            )
            array = figure.arrays["noise"]
            expected = array.rgb(figure.frame("noise", ("y", "x"), {"k": k}), theme)
            difference = abs(torch.tensor(painted) - torch.tensor(expected.astype(int)))
            assert difference.max() <= 1
        page.context.close()


def test_gradients_are_those_of_autograd():
    torch.manual_seed(0)
    unit = nn.Sequential(nn.Linear(3, 4), CausalSGU(4, 5)).double()
    nn.init.normal_(unit[1].weight)
    x = torch.randn(5, 3, dtype=torch.float64)
    jacobian_ = torch.autograd.functional.jacobian(lambda x: unit(x[None])[0], x)  # (n, c, n, d)
    direction = torch.randn(2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.einsum("icjd,c->ijd", jacobian_, direction).norm(dim=-1)
    torch.testing.assert_close(gradients(unit, x), expected)


def test_texts_stand_where_their_numbers_stood():
    texts = Texts.of(torch.arange(6).view(2, 3) - 1, ("a", "b"))
    assert list(texts.values) == ["−1", "0", "1", "2", "3", "4"]
    assert list(texts.shape) == [2, 3]
