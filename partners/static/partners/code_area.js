// Text areas for JSON: shows the first error, and formats the text. Only white space is changed, which keeps
// the spelling of numbers and repeated keys.

(function () {
  "use strict";

  const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

  function layOut(text) {
    const tokens = text.match(TOKEN) || [];
    let level = 0;
    let out = "";
    tokens.forEach((token, at) => {
      const next = tokens[at + 1];
      const before = tokens[at - 1];
      const line = () => "\n" + "  ".repeat(level);
      if (token === "{" || token === "[") {
        level += 1;
        out += token + (next === "}" || next === "]" ? "" : line());
      } else if (token === "}" || token === "]") {
        level = Math.max(0, level - 1);
        out += (before === "{" || before === "[" ? "" : line()) + token;
      } else if (token === ",") {
        out += "," + line();
      } else {
        out += token === ":" ? ": " : token;
      }
    });
    return out;
  }

  // The error in the text, with its position if the browser gives it; null if the text is JSON or empty.
  function fault(text) {
    if (!text.trim()) return null;
    try {
      JSON.parse(text);
      return null;
    } catch (error) {
      return error.message.replace(/^JSON\.parse: /, "");
    }
  }

  function checkbar(area) {
    const bar = document.createElement("div");
    bar.className = "rh-code-check";
    const says = document.createElement("span");
    says.setAttribute("role", "status");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "text-link";
    button.textContent = "Format";
    button.addEventListener("click", () => {
      if (fault(area.value)) return;
      area.value = layOut(area.value);
      area.dispatchEvent(new Event("input", { bubbles: true }));
    });
    bar.append(says, button);
    area.after(bar);
    return { says, button };
  }

  function watch(area) {
    const { says, button } = checkbar(area);
    function show() {
      const wrong = fault(area.value);
      says.textContent = wrong || "";
      says.className = wrong ? "rh-fault" : "";
      button.hidden = Boolean(wrong) || !area.value.trim();
    }
    area.addEventListener("input", show);
    show();
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll('textarea[data-language="json"]').forEach(watch);
  });
})();
