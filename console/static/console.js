// Pages are complete without this: it only shows times in the reader's zone, and renews the page while it is looked at.
"use strict";

function localise(root) {
  const form = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = form.format(new Date(time.dateTime));
  }
}

// Only what differs: a screen reader that reads the rest is not sent back to the top.
function exchange(part, fresh) {
  const [before, now] = [[...part.children], [...fresh.children]];
  if (before.length !== now.length) {
    part.replaceChildren(...fresh.childNodes);
    return;
  }
  now.forEach((each, place) => {
    if (each.isEqualNode(before[place])) return;
    if (each.tagName === "H1" && before[place].tagName === "H1") before[place].textContent = each.textContent;
    else before[place].replaceWith(each);
  });
}

// Null where there is none: the console is down, or cannot read.
async function fetched() {
  try {
    const answer = await fetch(location.href, { redirect: "manual", headers: { "X-Renewal": "1" } });
    if (answer.type === "opaqueredirect") return "elsewhere";
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = answer.ok ? page.querySelector("[data-refresh]") : null;
    if (fresh) localise(fresh);
    return fresh;
  } catch {
    return null;
  }
}

function renewing(part) {
  setInterval(async () => {
    if (document.hidden || part.contains(document.activeElement)) return;
    const fresh = await fetched();
    if (fresh === "elsewhere") location.reload(); // to the login: the session has ended
    else if (fresh) exchange(part, fresh);
    part.querySelector(".stale").hidden = Boolean(fresh);
  }, Number(part.dataset.refresh) * 1000);
}

localise(document);
const part = document.querySelector("[data-refresh]");
if (part) renewing(part);
