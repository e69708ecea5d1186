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

function renewing(part) {
  setInterval(async () => {
    if (document.hidden || part.contains(document.activeElement)) return;
    try {
      const answer = await fetch(location.href, { redirect: "error", headers: { "X-Renewal": "1" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-refresh]");
      if (!fresh) return;
      localise(fresh);
      exchange(part, fresh);
    } catch {
      // Shown as it was; the time on the page says of when it is.
    }
  }, Number(part.dataset.refresh) * 1000);
}

localise(document);
const part = document.querySelector("[data-refresh]");
if (part) renewing(part);
