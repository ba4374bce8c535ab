// Draws one figure: panels over shared variables, with a slider for each variable. All numbers are
// PyTorch's: here they are only looked up and painted. `spec` is what figure.py writes.
async (host, spec) => {
  if (host.dataset.alive || !self.DecompressionStream) return; // the still picture stays
  host.dataset.alive = "yes";

  // ---- data: bytes with named dimensions; the variables choose along all that are not drawn ----
  const packed = Uint8Array.from(atob(spec.data.split(",")[1]), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const variables = Object.fromEntries(spec.variables.map((v) => [v.name, v]));
  const state = Object.fromEntries(spec.variables.map((v) => [v.name, v.start]));

  const place = (a, at) =>
    a.dims.reduce((sum, dim, k) => sum * a.shape[k] + (at[dim] ?? state[dim] ?? 0), 0);
  const size = (a, dim) => (dim ? a.shape[a.dims.indexOf(dim)] : 1);
  const code = (a, at) => bytes[a.start + place(a, at)]; // 0 is NaN, 1 an exact 0 on a log scale
  const value = (a, c) => {
    if (!c) return NaN;
    if (!a.log) return a.low + ((c - 1) / 254) * (a.high - a.low);
    return c === 1 ? 0 : 10 ** (a.low + ((c - 2) / 253) * (a.high - a.low));
  };
  const text = (name, at) => spec.texts[name].values[place(spec.texts[name], at)];
  const label = (name) => variables[name].labels?.[state[name]] ?? String(state[name]);
  const number = (v) => {
    if (Number.isNaN(v)) return "NaN";
    const size = Math.abs(v);
    const short = size && (size < 1e-3 || size >= 1e5) ? v.toExponential(1)
      : size >= 100 ? Math.round(v) : +v.toPrecision(2); // there are but 255 levels
    return String(short).replace("-", "−");
  };
  const say = (words) =>
    words.replace(/\{(\w+)\}/g, (_, name) =>
      name in variables ? label(name)
        : name in spec.texts ? text(name, {})
        : number(value(spec.arrays[name], code(spec.arrays[name], {}))));

  // ---- colours: those of the theme that the page really shows ----
  let theme, ink, faint;
  const look = () => {
    let dark = false;
    for (let e = host.parentElement; e; e = e.parentElement) {
      const [r, g, b, alpha = 1] = getComputedStyle(e).backgroundColor.match(/[\d.]+/g).map(Number);
      if (alpha) { dark = 0.3 * r + 0.59 * g + 0.11 * b < 128; break; }
    }
    theme = dark ? "dark" : "light";
    [ink, faint] = dark ? ["#e6e6e6", "#555"] : ["#222", "#bbb"];
    host.dataset.theme = theme;
    host.style.color = ink;
  };
  const colours = {};
  const colour = (a, c) => {
    const table = (colours[a.colours + theme + !!a.log] ??= Array.from({ length: 256 }, (_, k) => {
      const stops = spec.colours[a.colours][theme];
      if (!k) return spec.colours.nan;
      if (a.colours === "category") return stops[(k - 1) % stops.length];
      const at = (a.log ? (k < 2 ? 0 : 0.12 + (0.88 * (k - 2)) / 253) : (k - 1) / 254) * (stops.length - 1);
      const low = Math.min(Math.floor(at), stops.length - 2);
      return stops[low].map((s, i) => Math.round(s + (at - low) * (stops[low + 1][i] - s)));
    }));
    return table[c];
  };
  const css = (rgb) => `rgb(${rgb})`;
  const readable = ([r, g, b]) => (0.3 * r + 0.59 * g + 0.11 * b < 140 ? "#fff" : "#000");

  // ---- panels: layout says how high, where a cell is and what lies under the pointer ----
  const outline = (pen, x, y, w, h) => {
    for (const [width, style] of [[3.5, theme === "dark" ? "#000" : "#fff"], [2, ink]]) {
      pen.lineWidth = width; // a line with a halo stands out on every ground
      pen.strokeStyle = style;
      pen.strokeRect(x - 1, y - 1, w + 2, h + 2); // the neighbours stay in sight
    }
  };
  const ticks = (pen, count, put) => {
    const step = [1, 2, 4, 8, 16, 32, 64, 128].find((s) => count / s <= 8);
    for (let k = 0; k < count; k += step) put(k);
  };
  const KINDS = {
    grid: {
      layout(p, width) {
        const cols = size(p.a, p.x), rows = size(p.a, p.y);
        const cell = Math.min((width - 40) / cols, 330 / Math.max(cols, rows), 34);
        return { cols, rows, cell, left: 36, height: rows * cell + 38 };
      },
      hit: (l, x, y) => [Math.floor((x - l.left) / l.cell), Math.floor((y - 2) / l.cell)],
      paint(p, l, pen) {
        const image = new ImageData(l.cols, l.rows);
        for (let j = 0, k = 0; j < l.rows; j++)
          for (let i = 0; i < l.cols; i++, k += 4) {
            image.data.set(colour(p.a, code(p.a, { [p.x]: i, [p.y]: j })), k);
            image.data[k + 3] = 255;
          }
        const small = new OffscreenCanvas(l.cols, l.rows);
        small.getContext("2d").putImageData(image, 0, 0);
        pen.imageSmoothingEnabled = false;
        const w = l.cols * l.cell, h = l.rows * l.cell;
        pen.drawImage(small, l.left, 2, w, h);
        pen.strokeStyle = faint;
        pen.strokeRect(l.left, 2, w, h);
        pen.fillStyle = ink;
        pen.textAlign = "center";
        ticks(pen, l.cols, (k) => pen.fillText(k, l.left + (k + 0.5) * l.cell, h + 15));
        pen.fillText(p.xlabel ?? "", l.left + w / 2, h + 31);
        pen.textAlign = "right";
        ticks(pen, l.rows, (k) => pen.fillText(k, l.left - 4, 6 + (k + 0.5) * l.cell));
        pen.save();
        pen.translate(9, 2 + h / 2);
        pen.rotate(-Math.PI / 2);
        pen.textAlign = "center";
        pen.fillText(p.ylabel ?? "", 0, 0);
        pen.restore();
        const x = p.pick ?? p.x;
        if (x in state) outline(pen, l.left + state[x] * l.cell, 2, l.cell, h);
        if (p.y in state) outline(pen, l.left, 2 + state[p.y] * l.cell, w, l.cell);
      },
    },
    strip: { // one cell after the other, in as many lines as it takes
      layout(p, width) {
        const count = size(p.a, p.x), words = p.text ? spec.texts[p.text].values : [""];
        const least = 8 + 8 * words.reduce((most, word) => Math.max(most, word.length), 1);
        const cell = Math.max(least, Math.min(30, Math.floor((width - 6) / count)));
        let each = Math.min(count, Math.floor((width - 6) / cell));
        if (each < count && each > 8) each -= each % 8; // lines that are easy to count
        return { count, cell, each, line: 28, height: Math.ceil(count / each) * 28 + 2 };
      },
      hit(l, x, y) {
        const i = Math.floor((x - 3) / l.cell), j = Math.floor((y - 3) / l.line);
        const k = j * l.each + i;
        return [i < l.each && k < l.count ? k : -1];
      },
      paint(p, l, pen) {
        pen.textAlign = "center";
        pen.font = "13px ui-monospace, monospace";
        const corner = (i) => [3 + (i % l.each) * l.cell, 3 + Math.floor(i / l.each) * l.line];
        for (let i = 0; i < l.count; i++) {
          const [x, y] = corner(i);
          const fill = colour(p.a, code(p.a, { [p.x]: i }));
          pen.fillStyle = css(fill);
          pen.fillRect(x, y, l.cell, 22);
          pen.lineWidth = 1;
          pen.strokeStyle = faint;
          pen.strokeRect(x + 0.5, y + 0.5, l.cell - 1, 21);
          if (!p.text) continue;
          pen.fillStyle = readable(fill);
          pen.fillText(text(p.text, { [p.x]: i }), x + l.cell / 2, y + 16);
        }
        const i = state[p.pick ?? p.x] + (p.first ?? 0);
        if (i < l.count) outline(pen, ...corner(i), l.cell, 22);
      },
    },
    bars: {
      layout: (p, width) => ({ count: size(p.a, p.x), width, height: 22 * size(p.a, p.x) + 6 }),
      hit: (l, x, y) => [Math.floor((y - 2) / 22)],
      paint(p, l, pen) {
        const left = p.text ? 96 : 8, room = l.width - left - 64;
        const low = Math.min(0, p.a.low), high = Math.max(0, p.a.high);
        const at = (v) => left + ((v - low) / (high - low || 1)) * room;
        for (let i = 0; i < l.count; i++) {
          const v = value(p.a, code(p.a, { [p.x]: i })), y = 4 + 22 * i;
          pen.fillStyle = css(spec.colours.category[theme][0]);
          if (v) pen.fillRect(Math.min(at(0), at(v)), y, Math.abs(at(v) - at(0)), 16);
          pen.fillStyle = ink;
          pen.textAlign = "right";
          if (p.text) pen.fillText(text(p.text, { [p.x]: i }), left - 6, y + 13);
          pen.textAlign = "left";
          pen.fillText(number(v), Math.max(at(0), at(v)) + 5, y + 13);
          if (p.x in state && state[p.x] === i) outline(pen, 2, y - 1, l.width - 4, 18);
        }
      },
    },
    line: {
      layout: (p, width) => ({ count: size(p.a, p.x), width, left: 60, height: 190 }),
      hit: (l, x) => [Math.round(((x - l.left) / (l.width - l.left - 10)) * (l.count - 1))],
      paint(p, l, pen) {
        const top = 8 + 16 * Math.ceil(p.lines.length / 2), bottom = 152, a = p.a;
        const x = (i) => l.left + (i / Math.max(1, l.count - 1)) * (l.width - l.left - 10);
        const y = (c) => bottom - ((c - 1) / 254) * (bottom - top);
        pen.fillStyle = ink;
        pen.strokeStyle = faint;
        pen.textAlign = "right";
        for (const c of [a.log ? 2 : 1, 128, 255]) {
          // As many digits as tell the marks of the axis apart.
          const digits = Math.max(0, 1 - Math.floor(Math.log10(a.high - a.low)));
          const mark = a.log || digits > 4 ? number(value(a, c)) : value(a, c).toFixed(digits);
          pen.fillText(mark.replace("-", "−"), l.left - 6, y(c) + 4);
          pen.beginPath();
          pen.moveTo(l.left, y(c));
          pen.lineTo(l.width - 10, y(c));
          pen.stroke();
        }
        pen.textAlign = "center";
        const labels = p.ticks ?? variables[p.x]?.labels;
        ticks(pen, l.count, (k) => {
          const words = labels?.[k] ?? k, half = pen.measureText(words).width / 2;
          pen.fillText(words, Math.min(x(k), l.width - half), 167);
        });
        pen.fillText(p.xlabel ?? "", (l.left + l.width) / 2, 184);
        p.lines.forEach((name, k) => {
          const line = spec.arrays[name];
          pen.strokeStyle = pen.fillStyle = css(spec.colours.category[theme][k]);
          pen.lineWidth = 2;
          pen.setLineDash([[], [6, 3], [2, 3]][k % 3]);
          pen.beginPath();
          for (let i = 0, down = false; i < l.count; i++) {
            const c = code(line, { [p.x]: i });
            if (c) pen[down ? "lineTo" : "moveTo"](x(i), y(c));
            down = c > 0;
          }
          pen.stroke();
          pen.setLineDash([]);
          pen.textAlign = "left";
          pen.fillText("■ " + (p.names?.[k] ?? name), l.left + (k % 2) * (l.width - l.left) / 2, 12 + 16 * Math.floor(k / 2));
        });
        if (!(p.x in state)) return;
        pen.strokeStyle = ink;
        pen.lineWidth = 1;
        pen.beginPath();
        pen.moveTo(x(state[p.x]), top);
        pen.lineTo(x(state[p.x]), bottom);
        pen.stroke();
      },
    },
  };

  // ---- the page: sliders, panels, one sentence ----
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const set = (changes) => {
    for (const [name, k] of Object.entries(changes))
      state[name] = Math.max(0, Math.min(variables[name].size - 1, k));
    update();
  };
  const controls = spec.variables.map((v) => {
    const input = make("input", { type: "range", min: 0, max: v.size - 1, step: 1 });
    input.disabled = v.size === 1; // nothing to choose: the label alone is of interest
    input.dataset.lmSuppressShortcuts = ""; // JupyterLab then leaves the arrow keys to it
    const shown = make("span", { className: "gmlp-value" });
    input.addEventListener("input", () => set({ [v.name]: +input.value }));
    const row = make("div", { className: "gmlp-control" }, make("label", {}, v.label + " ", input), shown);
    if (v.play) {
      const button = make("button", { type: "button", textContent: "▶ play" });
      let timer;
      button.addEventListener("click", () => {
        const on = timer === undefined;
        button.textContent = on ? "❚❚ pause" : "▶ play";
        if (!on) timer = clearInterval(timer);
        else timer = setInterval(() => {
          if (!host.isConnected) clearInterval(timer);
          else set({ [v.name]: (state[v.name] + 1) % v.size });
        }, v.play);
      });
      button.dataset.lmSuppressShortcuts = "";
      row.append(button);
    }
    return { v, input, shown, row };
  });
  const panels = spec.panels.map((p) => {
    p.a = spec.arrays[p.array ?? p.lines[0]];
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", p.alt);
    const parts = [make("div", { className: "gmlp-title", textContent: p.title }), canvas];
    if (p.caption) parts.push(make("div", { className: "gmlp-caption", textContent: p.caption }));
    const panel = { p, canvas, box: make("div", { className: `gmlp-panel gmlp-${p.kind}` }, ...parts) };
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const scale = box.width / canvas.clientWidth || 1; // of the page around it, as on a slide
      const hit = KINDS[p.kind].hit(
        panel.l, (event.clientX - box.left) / scale, (event.clientY - box.top) / scale);
      const changes = {};
      [p.pick ?? p.x, p.y].forEach((name, k) => {
        const at = hit[k] - (k ? 0 : p.first ?? 0);
        if (name in state && at >= 0 && at < variables[name].size) changes[name] = at;
      });
      if (Object.keys(changes).length) set(changes);
    };
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", (event) => {
      point(event); // and the arrow keys go on from here
      controls.find((c) => c.v.name === (p.pick ?? p.x))?.input.focus({ preventScroll: true });
      event.preventDefault();
    });
    return panel;
  });
  const note = make("output");
  const face = make("div", {},
    make("div", { className: "gmlp-controls" }, ...controls.map((c) => c.row)),
    make("div", { className: "gmlp-panels" }, ...panels.map((p) => p.box)), note);
  const update = () => {
    for (const { v, input, shown } of controls) {
      input.value = state[v.name];
      shown.textContent = label(v.name);
      input.setAttribute("aria-valuetext", label(v.name));
    }
    for (const panel of panels) {
      const { p, canvas, box } = panel;
      const width = Math.floor(box.clientWidth), scale = self.devicePixelRatio || 1;
      if (!width) continue;
      const l = (panel.l = KINDS[p.kind].layout(p, width));
      canvas.width = width * scale;
      canvas.height = l.height * scale;
      canvas.style.cssText = `width:${width}px;height:${l.height}px`;
      const pen = canvas.getContext("2d");
      pen.scale(scale, scale);
      pen.font = "12px system-ui, sans-serif";
      KINDS[p.kind].paint(p, l, pen);
    }
    note.textContent = say(spec.note);
  };
  const again = () => { look(); update(); };
  host.querySelector("img").hidden = true;
  host.append(face);
  again();
  let shown = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth !== shown) again((shown = host.clientWidth));
  }).observe(host);
  const watch = new MutationObserver(again);
  for (const e of [document.documentElement, document.body])
    watch.observe(e, { attributes: true, attributeFilter: ["class", "style", "data-theme", "data-jp-theme-light"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}
