// The live preview of a subscription's filter and transformation. The server makes it; this script shows it,
// and links each problem to its place in the text.

(function () {
  "use strict";

  const WAIT_MS = 250;

  // The range of the value at a JSON pointer in a JSON text: [start, end], or null.
  function locate(text, pointer) {
    const path = pointer.split("/").slice(1).map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
    let at = 0;
    const skip = () => {
      while (/\s/.test(text[at] || "")) at += 1;
    };
    const string = () => {
      const start = at;
      at += 1;
      while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
      at += 1;
      return text.slice(start, at);
    };

    // Parses one value; returns the range if the rest of the pointer leads into it.
    function value(rest) {
      skip();
      const start = at;
      let found = null;
      if (text[at] === "{" || text[at] === "[") {
        found = members(rest, text[at] === "{");
      } else if (text[at] === '"') {
        string();
      } else {
        while (at < text.length && !/[\s,\]}]/.test(text[at])) at += 1;
      }
      return rest.length === 0 ? [start, at] : found;
    }

    function members(rest, isObject) {
      const close = isObject ? "}" : "]";
      let found = null;
      at += 1;
      for (let index = 0; at < text.length; index += 1) {
        skip();
        if (text[at] === close) break;
        const start = at;
        let key = String(index);
        if (isObject) {
          key = JSON.parse(string());
          skip();
          at += 1;
        }
        const here = rest.length > 0 && rest[0] === key;
        const inner = value(here ? rest.slice(1) : ["\u0000"]);
        if (here) found = inner || [start, at];
        skip();
        if (text[at] === ",") at += 1;
      }
      at += 1;
      return found;
    }

    try {
      return value(path);
    } catch {
      return null;
    }
  }

  // The range that a problem names, by its pointer or in its message ("at line 1 column 11", "at character 9 of").
  function placeOf(text, problem) {
    if (problem.path) return locate(text, problem.path);
    const line = /at line (\d+) column (\d+)/.exec(problem.message);
    const character = /at character (\d+)/.exec(problem.message);
    if (!line && !character) return null;
    const start = line
      ? text.split("\n").slice(0, line[1] - 1).join("\n").length + (line[1] > 1 ? 1 : 0) + Number(line[2]) - 1
      : character[1] - 1;
    return [start, start + 1];
  }

  function lineOf(text, offset) {
    const before = text.slice(0, offset).split("\n");
    return `line ${before.length}, column ${before[before.length - 1].length + 1}`;
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  }

  // Lists problems and hints below a field. Clicking one selects its place.
  function showProblems(area, problems, hints) {
    const after = area.parentNode.querySelector(".rh-code-check") || area;
    area.parentNode.querySelectorAll(".rh-problem").forEach((old) => old.remove());
    area.classList.toggle("rh-wrong", problems.length > 0);
    [...problems, ...hints].forEach((problem) => {
      const place = placeOf(area.value, problem);
      const where = place && problem.path ? `${lineOf(area.value, place[0])} (${problem.path}): ` : problem.path ? `${problem.path}: ` : "";
      const told = element(place ? "button" : "p", "rh-problem", where + problem.message);
      told.classList.toggle("rh-hint", hints.includes(problem));
      if (place) {
        told.type = "button";
        told.addEventListener("click", () => {
          area.focus();
          area.setSelectionRange(place[0], place[1]);
        });
      }
      after.after(told);
    });
  }

  function start() {
    const pane = document.getElementById("rh-preview");
    const field = (name) => document.getElementById(`id_${name}`);
    const areas = { transformation: field("transformation") };
    if (!pane || !areas.transformation) return;
    if (field("filter")) areas.filter = field("filter");
    // What the operational subscription cannot change has no field: its URL, and that it gets all operational events.
    const fixed = { url: pane.dataset.endpoint, event_types: "*", filter: "" };
    const written = (name) => (field(name) ? field(name).value : fixed[name]);
    const sample = document.getElementById("rh-sample");
    const type = document.getElementById("rh-sample-type");
    areas.data = document.getElementById("rh-sample-data");
    const csrf = document.querySelector("[name=csrfmiddlewaretoken]").value;
    let asked = 0;
    let timer = null;

    function show(answer) {
      pane.querySelector(".rh-verdict").textContent = answer.verdict;
      pane.querySelector(".rh-verdict").className = `rh-verdict rh-badge rh-${
        answer.problems.length ? "danger" : answer.sent ? "success" : "warning"
      }`;
      const request = pane.querySelector(".rh-request");
      const head = [`POST ${written("url") || "https://…"}`, ...answer.headers.map(([name, value]) => `${name}: ${value}`)];
      request.textContent = head.join("\n");
      request.hidden = answer.headers.length === 0;
      pane.querySelector(".rh-body").innerHTML = answer.body; // escaped by the server
      Object.keys(areas).forEach((where) =>
        showProblems(
          areas[where],
          answer.problems.filter((problem) => problem.where === where),
          answer.hints.filter((hint) => hint.where === where),
        ),
      );
    }

    async function ask() {
      asked += 1;
      const mine = asked;
      const draft = new FormData();
      ["url", "event_types", "headers", "filter", "transformation"].forEach((name) => draft.set(name, written(name)));
      draft.set("type", type.value);
      draft.set("sample", areas.data.value);
      try {
        const response = await fetch(pane.dataset.url, { method: "POST", body: draft, headers: { "X-CSRFToken": csrf } });
        const answer = await response.json();
        if (mine === asked && response.ok) show(answer);
      } catch {
        pane.querySelector(".rh-verdict").textContent = "No preview: the server does not answer.";
      }
    }

    function later() {
      clearTimeout(timer);
      timer = setTimeout(ask, WAIT_MS);
    }

    async function loadSample() {
      const response = await fetch(`${sample.dataset.url}?type=${encodeURIComponent(type.value)}`);
      areas.data.value = (await response.json()).data;
      areas.data.dispatchEvent(new Event("input", { bubbles: true }));
    }

    const inputs = [...Object.values(areas), field("url"), field("event_types"), field("headers")];
    inputs.filter(Boolean).forEach((one) => one.addEventListener("input", later));
    type.addEventListener("change", loadSample);
    ask();
  }

  document.addEventListener("DOMContentLoaded", start);
})();
