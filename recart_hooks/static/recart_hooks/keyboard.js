// Some of Unfold's buttons and menus are links without an address, which only a mouse reaches. With this the keyboard
// does too: Enter or the space bar opens a menu and goes to its first entry, Escape closes it.

(function () {
  "use strict";

  const BUTTONS = "a[x-on\\:click]:not([href]), div.cursor-pointer[x-on\\:click]";
  const MENU = "nav[x-show]";
  let opener = null;

  function enterMenu() {
    const menu = [...document.querySelectorAll(MENU)].find((one) => one.getClientRects().length > 0);
    if (menu) {
      menu.querySelector("a, button").focus();
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(BUTTONS).forEach((one) => {
      one.tabIndex = 0;
      one.setAttribute("role", "button");
    });
  });

  document.addEventListener("keydown", (event) => {
    const on = event.target;
    if ((event.key === "Enter" || event.key === " ") && on.matches(BUTTONS)) {
      event.preventDefault();
      opener = on;
      on.click();
      window.setTimeout(enterMenu, 50); // Alpine shows it in the next frame
    } else if (event.key === "Escape" && opener && on.closest(MENU)) {
      document.body.click();
      opener.focus();
    }
  });
})();
