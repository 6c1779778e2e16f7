import { effect } from "@preact/signals";
import { render } from "preact";

import { Unreachable } from "./api";
import { App } from "./components/App";
import { hasUnsavedChanges, retrySaving, saveAllOnExit, saveBackups } from "./documents";
import { flush, openImage } from "./editor";
import { nextPending } from "./image-queue";
import * as jobs from "./jobs";
import { listenForShortcuts } from "./shortcuts";
import * as store from "./store";
import "./style.css";

// the token is in a cookie by now, and must not stay in the browser's history
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);

effect(() => {
  if (store.theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = store.theme.value;
});

render(<App />, document.getElementById("app")!);
listenForShortcuts();

const focusStage = () => document.getElementById("stage")?.focus({ preventScroll: true });

addEventListener("beforeunload", (event) => {
  if (!hasUnsavedChanges()) return;
  saveAllOnExit();
  if (store.saveStatus.value.state === "offline" || store.saveStatus.value.state === "conflict") event.preventDefault();
});
addEventListener("pagehide", saveAllOnExit);
document.addEventListener("visibilitychange", () => document.hidden && void flush());
addEventListener("online", retrySaving);
addEventListener("hashchange", () => {
  const id = location.hash.slice(1);
  if (store.images.value.some((one) => one.id === id)) void openImage(id);
});
// a control used with the pointer gives the focus back, so that Enter accepts the image instead of pressing it again
addEventListener("click", (event) => {
  const controls = "button, summary, input[type=radio], input[type=checkbox], [role=option]";
  const control = event.target instanceof Element ? event.target.closest(controls) : null;
  if (control && event.detail > 0 && !store.dialog.value && !control.closest("form, dialog")) focusStage();
});

async function start(): Promise<void> {
  try {
    await jobs.load();
  } catch (error) {
    store.loadError.value = error instanceof Error ? error.message : String(error);
    if (store.project.value) store.notifyError(error);
    if (error instanceof Unreachable) setTimeout(() => void start(), 2000);
    return;
  }
  store.loadError.value = null;
  jobs.followEvents();
  const images = store.images.value;
  const fromAddress = images.find((one) => one.id === location.hash.slice(1));
  const first = fromAddress ?? nextPending(images, null) ?? images[0];
  if (first) await openImage(first.id);
  focusStage();
  void saveBackups();
}

void start();
