// The charts of the page: what the controls say is picked from the numbers, and Vega-Lite draws it.
// A chart never mixes machines: of every field that is neither on the x axis nor told by colour, one value is chosen.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("numbers").textContent);
  const { rows, phases, columns } = data;
  const fields = new Map(data.fields.map((field) => [field.name, field]));
  const everyRow = rows.phase.map((_, row) => row);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const element = (id) => document.getElementById(id);

  const PARTS = [
    ["guest_seconds", "guest", "#009e73"],
    ["exit_seconds", "exits and lock-free faults", "#e69f00"],
    ["lock_wait_seconds", "waiting for mmu_lock", "#d55e00"],
    ["lock_hold_seconds", "holding mmu_lock", "#0072b2"],
    ["other_seconds", "other: start of the pass, work outside the lock", "#999999"],
  ];
  const STALLS = [
    ["stall_p50_ns", "p50", "circle"],
    ["stall_p90_ns", "p90", "triangle-up"],
    ["stall_p99_ns", "p99", "square"],
    ["stall_p999_ns", "p99.9", "diamond"],
    ["stall_max_ns", "max", "triangle-down"],
  ];
  const STALL_SIZES = [190, 130, 85, 50, 25];  // those that fall together lie inside each other, and all are seen
  const UNITS = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
  const MOST_PANELS = 8;
  const MOST_TABLE_ROWS = 500;
  const WIDE_RANGE = 20;  // from here on a logarithmic axis says more, as in `splitsweep plot`

  const first = (names) => names.find((name) => fields.has(name)) ?? fields.keys().next().value;
  const state = {
    phase: Math.max(0, phases.findIndex((phase) => phase.name === "dirty")),
    column: "seconds",
    x: first(["vcpus"]),
    colour: first(["split"]),
    scale: "log",
    picked: {},
    hidden: new Set(),
  };

  // ---- what is picked

  const filtered = () => [...fields.keys()].filter((name) => name !== state.x && name !== state.colour);
  const inPhase = (phase) => everyRow.filter((row) => rows.phase[row] === phase);
  const isPicked = (row) => filtered().every((name) => rows[name][row] === state.picked[name]);
  const isShown = (row) => !state.hidden.has(rows[state.colour][row]);
  const pickedRows = (phase = state.phase) => inPhase(phase).filter((row) => isPicked(row) && isShown(row));

  // Where the choices fit no config, they move to the config that has most of them and `kept` for certain.
  function settle(kept) {
    const names = filtered();
    const there = inPhase(state.phase);
    if (names.every((name) => name in state.picked) && there.some(isPicked)) return;
    const agreement = (row) =>
      names.reduce((sum, name) => sum + (rows[name][row] === state.picked[name] ? (name === kept ? 1000 : 1) : 0), 0);
    const best = there.reduce((best, row) => (agreement(row) > agreement(best) ? row : best), there[0]);
    for (const name of names) state.picked[name] = rows[name][best];
  }

  // ---- how it looks

  const shown = (number) => {
    if (number === null || number === undefined) return "-";
    return Number.isInteger(number) ? number.toLocaleString("en") : String(Number(number.toPrecision(6)));
  };
  const text = (name, row) => fields.get(name).texts[rows[name][row]];

  // Colours for a page of white are too dark for a dark one: black turns white, deep ones are lightened.
  function colour(hex) {
    if (!dark.matches) return hex;
    if (hex === "#000000") return "#ffffff";
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const light = 0.3 * parts[0] + 0.59 * parts[1] + 0.11 * parts[2];
    const mixed = light < 100 ? parts.map((part) => Math.round(part + (255 - part) * 0.4)) : parts;
    return "#" + mixed.map((part) => part.toString(16).padStart(2, "0")).join("");
  }

  const looks = () => {
    const field = fields.get(state.colour);
    return {
      domain: field.texts,
      colours: field.looks.map((look) => colour(look[0])),
      shapes: field.looks.map((look) => look[1]),
      sizes: field.looks.map((look) => look[2]),
    };
  };

  function config() {
    const style = getComputedStyle(document.documentElement);
    const [words, soft, line] = ["--text", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
    const axis = {
      labelColor: words, titleColor: words, gridColor: line, domainColor: soft, tickColor: soft,
      titleFontWeight: "normal", titleFontSize: 12, labelFontSize: 11, gridOpacity: 0.6,
    };
    return {
      background: "transparent", font: "system-ui, sans-serif", axis, view: { stroke: line },
      legend: { labelColor: words, titleColor: words, orient: "bottom" },
      title: { color: words, fontSize: 12, fontWeight: "normal", anchor: "start" },
    };
  }

  // ---- axes

  function xAxis() {
    const field = fields.get(state.x);
    if (!field.numbers) {
      return { title: field.title, value: (row) => text(state.x, row), encoding: words(field) };
    }
    const largest = Math.max(...field.numbers);
    const [unit, size] = field.size ? UNITS.find((entry) => entry[1] <= largest) ?? ["bytes", 1] : ["", 1];
    const ticks = field.numbers.map((number) => number / size);
    const log = field.doubling && ticks.length > 1 && ticks[0] > 0 && state.scale === "log";
    const title = unit ? `${field.title} (${unit})` : field.title;
    return {
      title,
      numeric: ticks.length > 1,
      value: (row) => field.numbers[rows[state.x][row]] / size,
      encoding: {
        field: "x", type: "quantitative", title,
        scale: log ? { type: "log", base: 2, nice: false, padding: 12 } : { zero: false, nice: false, padding: 12 },
        axis: { ...(ticks.length <= 12 ? { values: ticks } : {}), labelExpr: "format(datum.value, '~r')", labelOverlap: true },
      },
    };
  }

  const words = (field) => ({
    field: "xText", type: "ordinal", sort: field.texts, title: field.title, axis: { labelAngle: 0, labelOverlap: true },
  });

  function ticks(low, high) {
    const steps = high <= 1000 * low ? [1, 2, 5] : [1];
    const found = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade += 1) {
      for (const step of steps) found.push(Number(`${step}e${decade}`));
    }
    return found.filter((tick) => tick >= low && tick <= high);
  }

  // An axis of amounts: logarithmic if wished and sensible, linear at its foot (symlog) where some are zero.
  function amounts(field, title, numbers, form = "~s") {
    const above = numbers.filter((number) => number > 0);
    const [low, high] = [Math.min(...above), Math.max(...above)];
    const base = { field, type: "quantitative", title };
    const label = `format(datum.value, '${form}')`;
    if (state.scale !== "log" || !above.length || high <= WIDE_RANGE * low) {
      return { ...base, scale: { zero: true }, axis: { labelExpr: label, tickCount: 6 } };
    }
    const zeros = above.length < numbers.length;
    const values = [...(zeros ? [0] : []), ...ticks(low / 1.3, high * 1.3)];
    const scale = zeros
      ? { type: "symlog", constant: low, domain: [0, high * 1.3], nice: false }
      : { type: "log", domain: [low / 1.3, high * 1.3], nice: false };
    return { ...base, scale, axis: { values, labelExpr: label, labelOverlap: true }, zeros };
  }

  function encoding(axis) {
    const { zeros, ...rest } = axis;
    return rest;
  }

  // ---- charts: each gives a spec with its words and the numbers in it, or the reason why there is none

  function marks(list) {
    const axis = xAxis();
    return list.map((row) => ({
      row, x: axis.value(row), xText: text(state.x, row), group: text(state.colour, row),
    }));
  }

  const grouped = (list) => fields.get(state.colour).texts.filter((name) => list.some((mark) => mark.group === name));
  const symlogWords = (axis) => (axis.zeros ? " The axis is linear at its foot, down to 0 (symlog)." : "");

  function scaling() {
    const axis = xAxis();
    const list = marks(pickedRows()).map((mark) => {
      const y = rows[state.column][mark.row];
      const high = state.column === "seconds" && rows.seconds_hi ? rows.seconds_hi[mark.row] : null;
      const published = state.column === "seconds" ? rows.published[mark.row] : null;
      return { ...mark, y, high, low: high ? (y * y) / high : null, published };
    }).filter((mark) => mark.y !== null);
    if (!list.length) return { none: `${phases[state.phase].title} has no ${state.column} in the configs chosen.` };
    const numbers = list.flatMap((mark) => [mark.y, mark.low, mark.high, mark.published]).filter((n) => n !== null);
    const y = amounts("y", columns[state.column], numbers, columns[state.column].endsWith("(s)") ? "~g" : "~s");
    const { domain, colours, shapes, sizes } = looks();
    const color = { field: "group", type: "nominal", scale: { domain, range: colours }, legend: null };
    const shape = { field: "group", type: "nominal", scale: { domain, range: shapes }, legend: null };
    const size = (factor) => ({ field: "group", type: "ordinal", sort: domain, legend: null, scale: { domain, range: sizes.map((size) => size * factor) } });
    const where = (name) => [{ filter: `isValid(datum.${name})` }];
    const tooltip = [
      { field: "xText", title: axis.title }, { field: "group", title: state.colour },
      ...["y", "low", "high", "published"].filter((name) => list.some((mark) => mark[name] !== null))
        .map((name) => ({ field: name, title: { y: columns[state.column], low: "90% from", high: "90% to" }[name] ?? name })),
    ];
    const offset = axis.numeric ? {} : { xOffset: { field: "group", sort: domain } };
    const x = axis.numeric ? axis.encoding : words(fields.get(state.x));
    const has = (name) => list.some((mark) => mark[name] !== null);
    const layer = [];
    if (has("high")) {
      layer.push({
        transform: where("high"), mark: axis.numeric ? { type: "area", opacity: 0.18 } : { type: "rule", strokeWidth: 2, opacity: 0.6 },
        encoding: { y: { ...encoding(y), field: "low" }, y2: { field: "high" }, color },
      });
    }
    if (axis.numeric) layer.push({ mark: { type: "line", strokeWidth: 2 }, encoding: { y: encoding(y), color } });
    if (has("published")) layer.push({
      transform: where("published"), mark: { type: "point", filled: false, strokeWidth: 1.8 },
      encoding: { y: { ...encoding(y), field: "published" }, color, shape, size: size(3) },
    });
    layer.push({ mark: { type: "point", filled: true, opacity: 1 }, encoding: { y: encoding(y), color, shape, size: size(1), tooltip } });
    const meaning = [has("high") ? "The band is the 90% interval." : "", has("published") ? "Hollow points are published." : ""];
    return {
      words: `${phases[state.phase].title}: ${columns[state.column]} over ${axis.title}, a line for each ${state.colour}. ` +
        meaning.join(" ") + symlogWords(y),
      spec: { data: { values: list }, height: 340, encoding: { x, ...offset }, layer, resolve: { scale: { size: "independent" } } },
      heads: [axis.title, state.colour, columns[state.column], ...(has("high") ? ["90% from", "90% to"] : []), ...(has("published") ? ["published"] : [])],
      table: list.map((mark) => [mark.xText, mark.group, shown(mark.y), ...(has("high") ? [shown(mark.low), shown(mark.high)] : []), ...(has("published") ? [shown(mark.published)] : [])]),
    };
  }

  const ofVcpus = () => ["populate", "dirty", "after_disable"].includes(phases[state.phase].name);

  function parts() {
    const names = PARTS.filter(([column]) => rows[column]);
    const list = marks(pickedRows()).flatMap((mark) =>
      names.map(([column, part], order) => ({ ...mark, part, order, seconds: rows[column][mark.row] ?? 0 })));
    if (!list.some((mark) => mark.seconds > 0)) return { none: `${phases[state.phase].title} takes no time in the configs chosen.` };
    const groups = grouped(list);
    const color = {
      field: "part", type: "nominal", legend: null,
      scale: { domain: PARTS.map((part) => part[1]), range: PARTS.map((part) => colour(part[2])) },
    };
    const spec = (group) => ({
      title: `${state.colour}=${group}`, height: 220, data: { values: list.filter((mark) => mark.group === group) },
      mark: { type: "bar" },
      encoding: {
        x: words(fields.get(state.x)), color, order: { field: "order" },
        y: { field: "seconds", type: "quantitative", stack: "normalize", title: "share of the time", axis: { format: "%", tickCount: 5 } },
        tooltip: [{ field: "xText", title: fields.get(state.x).title }, { field: "part" }, { field: "seconds", title: "seconds" }],
      },
    });
    const whose = ofVcpus() ? "The time of all vCPUs added up" : "The time of the ioctl";
    const left = groups.length > MOST_PANELS ? ` The first ${MOST_PANELS} of ${groups.length} are drawn.` : "";
    return {
      words: `${phases[state.phase].title}. ${whose}, as shares, over ${fields.get(state.x).title}.${left}`,
      panels: groups.slice(0, MOST_PANELS).map(spec),
      heads: [fields.get(state.x).title, state.colour, "part", "seconds"],
      table: list.map((mark) => [mark.xText, mark.group, mark.part, shown(mark.seconds)]),
    };
  }

  function stalls() {
    if (!ofVcpus()) return { none: `${phases[state.phase].text} is an ioctl: no access waits in it. Choose a phase in which the vCPUs run.` };
    const levels = STALLS.filter(([column]) => rows[column]);
    const list = marks(pickedRows()).flatMap((mark) =>
      levels.map(([column, level]) => ({ ...mark, level, ns: rows[column][mark.row] ?? null })).filter((entry) => entry.ns !== null));
    if (!list.length) return { none: `${phases[state.phase].title} has no stalls in the configs chosen.` };
    const y = amounts("ns", "beyond a plain access (ns)", list.map((mark) => mark.ns));
    const { domain, colours } = looks();
    const color = { field: "group", type: "nominal", scale: { domain, range: colours }, legend: null };
    const names = STALLS.map((stall) => stall[1]);
    const level = (type, range) => ({ field: "level", type, sort: names, title: "accesses up to", scale: { domain: names, range } });
    const common = { x: words(fields.get(state.x)), xOffset: { field: "group", sort: domain }, color };
    return {
      words: `${phases[state.phase].title}: what an access takes beyond a plain one, from its median to the longest, over ` +
        `${fields.get(state.x).title}.${symlogWords(y)}`,
      spec: {
        data: { values: list }, height: 300,
        layer: [
          { mark: { type: "rule", strokeWidth: 2, opacity: 0.5 },
            encoding: { ...common, y: { ...encoding(y), aggregate: "min" }, y2: { field: "ns", aggregate: "max" } } },
          { mark: { type: "point", filled: false, strokeWidth: 1.6, opacity: 1 },
            encoding: {
              ...common, y: encoding(y),
              shape: level("nominal", STALLS.map((stall) => stall[2])), size: level("ordinal", STALL_SIZES),
              tooltip: [{ field: "xText", title: fields.get(state.x).title }, { field: "group", title: state.colour }, { field: "level" }, { field: "ns", title: "ns" }],
            } },
        ],
      },
      heads: [fields.get(state.x).title, state.colour, "accesses up to", "ns"],
      table: list.map((mark) => [mark.xText, mark.group, mark.level, shown(mark.ns)]),
    };
  }

  function dirty() {
    const iteration = phases[state.phase].iteration ?? 1;
    const place = (name) => phases.findIndex((phase) => phase.name === name && phase.iteration === iteration);
    if (place("get") < 0 || place("dirty") < 0 || !rows.dirty_pages || !rows.pages_written) return { none: "No dirty log was read." };
    const key = (row) => [...fields.keys()].map((name) => rows[name][row]).join(" ");
    const written = new Map(inPhase(place("dirty")).map((row) => [key(row), rows.pages_written[row]]));
    const list = marks(pickedRows(place("get")))
      .map((mark) => ({ ...mark, reported: rows.dirty_pages[mark.row], written: written.get(key(mark.row)) ?? null }))
      .filter((mark) => mark.reported !== null && mark.written !== null)
      .map((mark) => ({ ...mark, ratio: mark.written ? mark.reported / mark.written : null }));
    if (!list.length) return { none: "No dirty log was read in the configs chosen." };
    const all = list.flatMap((mark) => [mark.written, mark.reported]);
    const [x, y] = [amounts("written", "4K pages written", all), amounts("reported", "4K pages reported dirty", all)];
    const { domain, colours, shapes, sizes } = looks();
    const ends = [Math.min(...all), Math.max(...all)].map((value) => ({ written: value, reported: value }));
    const tooltip = [
      { field: "xText", title: fields.get(state.x).title }, { field: "group", title: state.colour },
      { field: "written", format: "," }, { field: "reported", format: "," }, { field: "ratio", title: "reported for each written", format: ".2f" },
    ];
    return {
      words: `Iteration ${iteration}: on the line every page reported was written; above it a migration sends pages for nothing.`,
      spec: {
        height: 320,
        layer: [
          { data: { values: ends }, mark: { type: "line", strokeDash: [5, 4], color: "#888888" }, encoding: { x: encoding(x), y: encoding(y) } },
          { data: { values: list }, mark: { type: "point", filled: true, opacity: 1 },
            encoding: {
              x: encoding(x), y: encoding(y), tooltip,
              color: { field: "group", type: "nominal", scale: { domain, range: colours }, legend: null },
              shape: { field: "group", type: "nominal", scale: { domain, range: shapes }, legend: null },
              size: { field: "group", type: "ordinal", sort: domain, scale: { domain, range: sizes.map((size) => size * 1.5) }, legend: null },
            } },
        ],
      },
      heads: [fields.get(state.x).title, state.colour, "pages written", "pages reported", "reported for each written"],
      table: list.map((mark) => [mark.xText, mark.group, shown(mark.written), shown(mark.reported), mark.ratio === null ? "-" : mark.ratio.toFixed(2)]),
    };
  }

  // ---- the page

  const CHARTS = { scaling, parts, stalls, dirty };
  const views = new Map();

  async function embed(target, spec, words) {
    const whole = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: "container", autosize: { type: "fit", contains: "padding" }, description: words, ...spec, config: config() };
    const actions = { export: true, source: false, compiled: false, editor: false };
    const result = await vegaEmbed(target, whole, { ast: true, renderer: "svg", actions, tooltip: { theme: dark.matches ? "dark" : "light" } });
    views.set(target, result);
  }

  function tableOf(heads, lines) {
    const table = document.createElement("table");
    const row = (section, cells, tag) => {
      const line = section.insertRow();
      for (const cell of cells) line.appendChild(Object.assign(document.createElement(tag), { textContent: cell }));
    };
    row(table.createTHead(), heads, "th");
    const body = table.createTBody();
    for (const line of lines.slice(0, MOST_TABLE_ROWS)) row(body, line, "td");
    if (lines.length > MOST_TABLE_ROWS) row(body, [`and ${lines.length - MOST_TABLE_ROWS} more`], "td");
    return table;
  }

  let drawing = 0;

  async function draw() {
    const mine = (drawing += 1);
    for (const view of views.values()) view.finalize();
    views.clear();
    const embedded = [];
    for (const [name, chart] of Object.entries(CHARTS)) {
      const found = chart();
      const target = element(name);
      element(`${name}-words`).textContent = found.none ? "" : found.words;
      target.replaceChildren();
      element(`${name}-numbers`).replaceChildren(...(found.none ? [] : [tableOf(found.heads, found.table)]));
      element(`${name}-numbers`).parentElement.hidden = Boolean(found.none);
      if (found.none) {
        target.append(Object.assign(document.createElement("p"), { className: "empty", textContent: found.none }));
        continue;
      }
      const specs = found.panels ?? [found.spec];
      for (const spec of specs) {
        const place = Object.assign(document.createElement("div"), { className: found.panels ? "panel" : "chart" });
        target.append(place);
        embedded.push(embed(place, spec, spec.title ? `${found.words} ${spec.title}` : found.words));
      }
    }
    await Promise.all(embedded);
    if (mine !== drawing) return;
    const lines = grouped(marks(pickedRows()));
    element("said").textContent =
      `${pickedRows().length} configs: ${phases[state.phase].title}, ${state.column} over ${fields.get(state.x).title}, ` +
      `${state.colour} ${lines.join(", ") || "none"}`;
    document.documentElement.dataset.drawn = String(mine);
  }

  function options(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, label]) => new Option(label, value, false, String(value) === String(chosen))));
  }

  const shapes = {
    circle: "<circle cx='8' cy='8' r='6'/>", square: "<rect x='2.5' y='2.5' width='11' height='11'/>",
    "triangle-up": "<path d='M8 1.5 15 14H1z'/>", "triangle-down": "<path d='M8 14.5 15 2H1z'/>",
    "triangle-right": "<path d='M14.5 8 2 1v14z'/>", diamond: "<path d='M8 0.5 15 8 8 15.5 1 8z'/>",
    cross: "<path d='M5.5 1h5v4.5H15v5h-4.5V15h-5v-4.5H1v-5h4.5z'/>",
  };

  function swatch(fill, shape) {
    const image = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    image.setAttribute("viewBox", "0 0 16 16");
    image.setAttribute("class", "swatch");
    image.setAttribute("aria-hidden", "true");
    image.setAttribute("fill", fill);
    image.innerHTML = shapes[shape] ?? shapes.square;
    return image;
  }

  function choice(type, group, label, checked, changed, image) {
    const input = Object.assign(document.createElement("input"), { type, name: group, checked, value: label });
    input.addEventListener("change", () => changed(input.checked));
    const whole = document.createElement("label");
    whole.append(input, ...(image ? [image] : []), label);
    return whole;
  }

  function fieldset(target, title, choices) {
    target.replaceChildren(Object.assign(document.createElement("legend"), { textContent: title }), ...choices);
    return target;
  }

  function pick(name, value) {
    state.picked[name] = value;
    settle(name);
    update();
  }

  // The controls are made anew from the state; the one that has the focus keeps it.
  function update() {
    const active = document.activeElement;
    const focus = active && active.form === element("controls") ? [active.id, active.name, active.value] : null;
    settle();
    options(element("phase"), phases.map((phase, index) => [index, phase.text]), state.phase);
    options(element("column"), Object.keys(columns).map((name) => [name, columns[name] === "time (s)" ? "seconds" : name]), state.column);
    for (const id of ["x", "colour"]) options(element(id), [...fields.values()].map((field) => [field.name, field.title]), state[id]);
    element("filters").replaceChildren(...filtered().filter((name) => fields.get(name).texts.length > 1).map((name) => {
      const field = fields.get(name);
      return fieldset(document.createElement("fieldset"), field.title, field.texts.map((label, value) =>
        choice("radio", `filter-${name}`, label, state.picked[name] === value, () => pick(name, value))));
    }));
    const field = fields.get(state.colour);
    const { colours, shapes: glyphs } = looks();
    fieldset(element("lines"), field.title, field.texts.map((label, value) =>
      choice("checkbox", "line", label, !state.hidden.has(value), (on) => {
        if (on) state.hidden.delete(value); else state.hidden.add(value);
        draw();
      }, swatch(colours[value], glyphs[value]))));
    element("parts-legend").replaceChildren(...PARTS.filter(([column]) => rows[column]).map(([, label, hex]) => {
      const item = document.createElement("li");
      item.append(swatch(colour(hex), "square"), ` ${label}`);
      return item;
    }));
    if (focus) {
      const same = focus[0] ? element(focus[0]) : [...element("controls").elements].find((one) => one.name === focus[1] && one.value === focus[2]);
      same?.focus();
    }
    draw();
  }

  function changed(id, value) {
    const other = { x: "colour", colour: "x" }[id];
    if (other && state[other] === value) state[other] = state[id];  // the two change places
    state[id] = value;
    if (other) state.hidden.clear();
    update();
  }

  for (const id of ["phase", "column", "x", "colour", "scale"]) {
    element(id).addEventListener("change", (event) => changed(id, id === "phase" ? Number(event.target.value) : event.target.value));
  }
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", update);
  update();
})();
