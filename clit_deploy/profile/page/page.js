"use strict";
// Draws the plots of a profile; texts and tables are in the page already.
(() => {
  const profile = JSON.parse(document.getElementById("profile").textContent);
  const PALETTE = ["#2a86cf", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800",
    "#7d63b8", "#1b9aaa", "#ff7f6b", "#5c8001", "#a0522d", "#7f95d1", "#d4a373", "#b5179e"];
  const OTHER = "#8c8c8c"; // graphs without a phase of their own
  const FINEST = 1 / 1500; // of a timeline: closer events of one name are drawn as one
  const phases = [...new Set(profile.rows.flatMap(row => row.phases.map(phase => phase.name)))];
  const color = k => PALETTE[k % PALETTE.length];
  const colorOf = name => phases.includes(name) ? color(phases.indexOf(name)) : OTHER;
  const ms = value => value.toFixed(2) + " ms";
  const last = array => array[array.length - 1];

  function add(parent, tag, text = "", style = {}) {
    const made = parent.appendChild(document.createElement(tag));
    made.textContent = text;
    Object.assign(made.style, style);
    return made;
  }

  function legend(parent) {
    const list = add(parent, "ul");
    list.className = "legend";
    for (const name of phases) {
      const item = add(list, "li");
      add(item, "i", "", { background: colorOf(name) });
      item.append(name);
    }
  }

  // Lanes of bars over a common axis of milliseconds: [{name, bars: [{name, start, ms}]}].
  function lanes(parent, rows, end) {
    const grid = add(parent, "div");
    grid.className = "lanes";
    for (const row of rows) {
      add(grid, "span", row.name);
      const lane = add(grid, "div");
      lane.className = "lane";
      for (const bar of row.bars) {
        add(lane, "i", "", {
          left: 100 * bar.start / end + "%",
          width: 100 * bar.ms / end + "%",
          background: colorOf(bar.name.replace(/\.onnx$/, "")),
        }).title = `${bar.name}: ${ms(bar.ms)} from ${ms(bar.start)}`;
      }
    }
    add(grid, "span");
    const scale = add(grid, "div");
    scale.className = "scale";
    for (let k = 0; k <= 4; k++) add(scale, "b", Number((end * k / 4).toPrecision(3)) + (k == 4 ? " ms" : ""), { fontWeight: 400 });
  }

  function stacked(row) {
    let start = 0;
    const bars = row.phases.map(phase => {
      start += phase.mean_ms;
      return { name: phase.name, start: start - phase.mean_ms, ms: phase.mean_ms };
    });
    return { name: row.label, bars };
  }

  function timeline(row) {
    const end = Math.max(...row.timeline.map(event => event.start_ms + event.ms));
    const found = new Map();
    for (const event of [...row.timeline].sort((a, b) => a.start_ms - b.start_ms)) {
      const bars = found.get(event.lane) ?? [];
      found.set(event.lane, bars);
      const before = last(bars);
      const gap = before && event.start_ms - before.start - before.ms;
      if (before && before.name == event.name && gap < end * FINEST && before.ms < end * FINEST) {
        before.ms = event.start_ms + event.ms - before.start;
      } else {
        bars.push({ name: event.name, start: event.start_ms, ms: event.ms });
      }
    }
    return [[...found].map(([name, bars]) => ({ name, bars })), end];
  }

  const plots = [];

  // A uPlot of columns [x, y...] in the colors of the page; drawn anew when those change.
  function plot(parent, name, columns, series, unit, options = {}) {
    const box = add(parent, "div");
    const draw = () => {
      const style = getComputedStyle(document.documentElement);
      const [ink, line] = ["--soft", "--line"].map(key => style.getPropertyValue(key).trim());
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui", labelFont: "12px system-ui", labelSize: 20 };
      box.replaceChildren();
      return new uPlot({
        width: box.clientWidth, height: 230,
        scales: { x: { time: false }, ...options.scales },
        axes: [{ ...axis, label: options.x ?? "s" }, { ...axis, label: unit, size: 60 }],
        series: [{ label: options.x ?? "s" }, ...series.map((one, k) => ({ stroke: color(k), width: 1.5, spanGaps: true, ...one }))],
      }, columns, box);
    };
    box.dataset.plot = name;
    plots.push({ box, draw, chart: draw() });
  }

  function latency(parent, row) {
    const level = value => row.runs.map(() => value);
    const line = name => ({ label: `${name} ${row.host_ms[name].toFixed(2)}`, points: { show: false }, dash: [6, 4], width: 1 });
    plot(parent, "latency", [row.runs.map(run => run[0]), row.runs.map(run => run[1]), level(row.host_ms.p50), level(row.host_ms.p95)],
      [{ label: "run", width: 0, points: { show: true, size: 6, fill: color(0) } }, line("p50"), line("p95")], "ms");
  }

  function histogram(parent, row) {
    const times = row.runs.map(run => run[1]);
    const count = Math.min(40, Math.max(5, Math.floor(times.length / 5)));
    const low = Math.min(...times), step = (Math.max(...times) - low) / count || low * 0.01;
    const edges = Array.from({ length: count }, (_, k) => low + k * step);
    const bins = edges.map(() => 0);
    for (const time of times) bins[Math.min(count - 1, Math.floor((time - low) / step))]++;
    plot(parent, "histogram", [edges.map(edge => edge + step / 2), bins],
      [{ label: "runs", fill: color(0), paths: uPlot.paths.bars({ size: [0.95, Infinity] }), points: { show: false } }],
      "runs", { x: "ms", scales: { x: { time: false, range: () => [low - step / 2, low + step * (count + 0.5)] }, y: { range: (_, min, max) => [0, max * 1.08] } } });
  }

  function sensors(parent, row) {
    for (const unit of new Set(row.curves.map(curve => curve.unit))) {
      const curves = row.curves.filter(curve => curve.unit == unit);
      const factor = unit == "B" ? 1e-6 : 1, word = unit == "B" ? "MB" : unit;
      const joined = uPlot.join(curves.map(curve => [curve.seconds, curve.values.map(value => value * factor)]));
      add(add(parent, "figure"), "figcaption", `Sensors, ${word}`);
      plot(parent.lastChild, word, joined, curves.map(curve => ({ label: curve.name })), word,
        { scales: { y: { range: (_, min, max) => [0, max * 1.08 || 1] } } });
    }
  }

  const overview = document.getElementById("phases");
  lanes(overview, profile.rows.map(stacked), Math.max(...profile.rows.map(row => row.host_ms.mean)));
  legend(overview);
  profile.rows.forEach((row, k) => {
    const figure = what => document.getElementById(`${what}-${k}`);
    lanes(figure("timeline"), ...timeline(row));
    latency(figure("latency"), row);
    histogram(figure("histogram"), row);
    sensors(figure("sensors"), row);
  });
  const redraw = () => plots.forEach(one => { one.chart.destroy(); one.chart = one.draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", () => plots.forEach(({ box, chart }) => chart.setSize({ width: box.clientWidth, height: 230 })));
})();
