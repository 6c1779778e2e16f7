import { effect } from "@preact/signals";
import { render } from "preact";

import { Offline } from "./api";
import * as jobs from "./jobs";
import * as keys from "./keys";
import { App } from "./parts/App";
import { next } from "./queue";
import * as sheets from "./sheets";
import * as store from "./store";
import "./style.css";
import * as work from "./work";

// The token came with the address and is a cookie now; it shall not stay in the history.
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);

effect(() => {
  const chosen = store.theme.value;
  if (chosen === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
});

render(<App />, document.getElementById("app")!);
keys.listen();

addEventListener("beforeunload", (event) => {
  if (!sheets.anythingUnsaved()) return;
  sheets.farewell();
  if (store.saving.value.state === "offline" || store.saving.value.state === "conflict") event.preventDefault();
});
addEventListener("pagehide", () => sheets.farewell());
document.addEventListener("visibilitychange", () => document.hidden && void work.flush());
addEventListener("online", () => sheets.retry());
addEventListener("hashchange", () => {
  const id = location.hash.slice(1);
  if (store.pictures.value.some((one) => one.id === id)) void work.open(id);
});
// A button used by mouse or finger gives the focus back, so that Enter accepts the picture and not the button again.
addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button, input[type=radio], input[type=checkbox], [role=option]") : null;
  if (button && event.detail > 0 && !store.dialog.value && !button.closest("form, dialog")) {
    document.getElementById("stage")?.focus({ preventScroll: true });
  }
});

async function start(): Promise<void> {
  try {
    await jobs.load();
  } catch (error) {
    store.fatal.value = error instanceof Error ? error.message : String(error);
    if (store.project.value) store.complain(error);
    if (error instanceof Offline) setTimeout(() => void start(), 2000);
    return;
  }
  store.fatal.value = null;
  jobs.listen();
  const list = store.pictures.value;
  const asked = list.find((one) => one.id === location.hash.slice(1));
  const first = asked ?? next(list, null) ?? list[0];
  if (first) await work.open(first.id);
  document.getElementById("stage")?.focus({ preventScroll: true });
  void sheets.saveLeftBehind();
}

void start();
