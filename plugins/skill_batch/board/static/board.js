// The board's own script: theme and language of Airflow's UI, dialogs, links to Airflow's pages, and the refresh.
"use strict";
(() => {
  const root = document.documentElement;

  const parentWindow = () => {
    try {
      return window.parent !== window && window.parent.document ? window.parent : null;
    } catch {
      return null; // another origin
    }
  };

  // Theme: that of the surrounding UI, or of the browser.
  const applyTheme = () => {
    const outer = parentWindow();
    const stored = localStorage.getItem("theme");
    const isDark = outer
      ? outer.document.documentElement.classList.contains("dark")
      : stored === "dark" || (stored !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.theme = isDark ? "dark" : "light";
  };
  applyTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
  const outer = parentWindow();
  if (outer) {
    new MutationObserver(applyTheme).observe(outer.document.documentElement, {
      attributes: true,
      attributeFilter: ["class"],
    });
  }

  // Language: the reader's choice on the board, or that of Airflow's UI.
  const cookieName = "skill_batch_language";
  const choose = (language) => {
    const path = document.body.dataset.board || "/";
    document.cookie = `${cookieName}=${language}; path=${path}; SameSite=Lax; max-age=31536000`;
    location.reload();
  };
  const followLanguage = () => {
    const ofAirflow = localStorage.getItem("i18nextLng");
    if (!ofAirflow || document.cookie.includes(`${cookieName}=`)) return;
    const wanted = ofAirflow.startsWith("ja") ? "ja" : "en";
    if (wanted !== root.lang) choose(wanted);
  };

  // A page of Airflow opens in the surrounding UI, which the sandbox of its frame does not let a link do.
  const openInAirflow = (event, link) => {
    const around = parentWindow();
    if (!around || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    around.history.pushState({}, "", link.href);
    around.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  };

  // A link to a folded section opens it.
  const openSection = (hash) => {
    const section = hash.length > 1 ? document.getElementById(hash.slice(1)) : null;
    if (section instanceof HTMLDetailsElement) section.open = true;
  };

  // Another site opens in a tab of its own, which the sandbox forbids to a link of the frame, but not to one of the surrounding page.
  const openOutside = (event, link) => {
    event.preventDefault();
    const copy = (parentWindow() || window).document.createElement("a");
    Object.assign(copy, { href: link.href, target: "_blank", rel: "noopener" });
    copy.click();
  };

  // What is wider than its place can be scrolled with the keyboard.
  const letScroll = () => {
    document.querySelectorAll(".scroll, .cells, .targets, .changes, .choices").forEach((each) => {
      const isCut = each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight;
      if (isCut) each.tabIndex = 0;
      else each.removeAttribute("tabindex");
    });
  };

  // On a narrow screen a row of a table is a card, whose values have the headings of the columns.
  const labelCells = () => {
    document.querySelectorAll(".scroll table:not(.cards)").forEach((table) => {
      const heads = [...table.querySelectorAll("thead th")].map((head) => (head.querySelector(".unseen") ? "" : head.textContent.trim()));
      table.querySelectorAll("tbody tr").forEach((row) => {
        if (row.cells.length !== heads.length) return;
        [...row.cells].forEach((cell, index) => {
          if (heads[index]) cell.dataset.label = heads[index];
        });
      });
      table.classList.add("cards");
    });
  };

  const layOut = () => {
    labelCells();
    letScroll();
  };

  const dialog = () => document.getElementById("dialog");

  // Refresh: only a visible page asks the server, and not while the reader is choosing or typing something. A page that cannot be
  // refreshed stays, and says how old it is.
  let refreshed = Date.now();
  let shownAt = new Date();
  const isBusy = (content) =>
    dialog().open ||
    content.querySelector("[data-found]:not(:empty)") !== null ||
    content.querySelector("input[type=checkbox]:checked") !== null ||
    (content.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));
  const refresh = async () => {
    const content = document.getElementById("content");
    if (document.hidden || isBusy(content)) return;
    refreshed = Date.now();
    const stale = document.getElementById("stale");
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("content");
      if (!answer.ok || !fresh) throw new Error(`status ${answer.status}`);
      if (isBusy(content)) return;
      // What is open stays open. The key of a section is its id, or its place on the page.
      const keyed = (page) => [...page.querySelectorAll("details")].map((each, index) => [each.id || index, each]);
      const opened = new Map(keyed(content).map(([key, each]) => [key, each.open]));
      content.replaceWith(document.adoptNode(fresh));
      keyed(fresh).forEach(([key, each]) => {
        each.open = opened.get(key) ?? each.open;
      });
      window.htmx.process(fresh);
      layOut();
      shownAt = new Date();
      stale.hidden = true;
    } catch {
      const time = shownAt.toLocaleTimeString("ja-JP", { timeZone: "Asia/Tokyo", hour: "2-digit", minute: "2-digit" });
      stale.textContent = stale.dataset.text.replace("{time}", time);
      stale.hidden = false;
    }
  };
  const due = () => {
    const seconds = Number(document.getElementById("content").dataset.refresh || 0);
    if (seconds && Date.now() - refreshed >= seconds * 1000) refresh();
  };

  // The dialog follows a run every two seconds, also after an answer that failed.
  const follow = () => {
    const followed = document.querySelector("#dialog-content [data-follow]");
    if (followed && !document.hidden) window.htmx.trigger(followed, "follow");
  };

  document.addEventListener("DOMContentLoaded", () => {
    followLanguage();
    openSection(location.hash);
    layOut();
    window.addEventListener("resize", letScroll);
    setInterval(follow, 2000);
    let timer = document.hidden ? 0 : setInterval(due, 1000);
    document.addEventListener("visibilitychange", () => {
      clearInterval(timer);
      if (!document.hidden) {
        due();
        timer = setInterval(due, 1000);
      }
    });
    // The key / goes to the search.
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target instanceof Element && event.target.closest("input, select, textarea");
      const find = document.getElementById("find");
      if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey || !find || dialog().open) return;
      event.preventDefault();
      find.focus();
    });
    document.addEventListener("click", (event) => {
      const target = event.target instanceof Element ? event.target : null;
      const language = target?.closest("[data-language]");
      if (language) choose(language.dataset.language);
      const link = target?.closest("a[data-airflow-page]");
      if (link) openInAirflow(event, link);
      const inside = target?.closest("a[href*='#']");
      if (inside) openSection(new URL(inside.href).hash);
      const outside = target?.closest("a[data-outside]");
      if (outside) openOutside(event, outside);
      const close = target?.closest("[data-close]");
      if (close) {
        dialog().close();
        if ("reload" in close.dataset) location.reload();
      }
    });
    document.body.addEventListener("htmx:afterSwap", (event) => {
      if (event.detail.target.id === "dialog-content" && !dialog().open) dialog().showModal();
      layOut();
    });
    document.body.addEventListener("htmx:beforeSwap", (event) => {
      if (event.detail.elt.dataset?.follow !== undefined && event.detail.xhr.status >= 400) {
        event.detail.shouldSwap = false;
      }
    });
    // A closed dialog stops following its run.
    dialog().addEventListener("close", () => {
      document.getElementById("dialog-content").replaceChildren();
    });
  });
})();
