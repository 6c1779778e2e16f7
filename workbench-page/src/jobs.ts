/** Fits, labeling and adapters: starting jobs, and following them through the server's events. */

import * as api from "./api";
import { retrySaving, saveBackups } from "./documents";
import { flush, refresh } from "./editor";
import * as store from "./store";
import { addNewObjects } from "./object-actions";
import type { Adapter, FindOptions, FitOptions, ImageInfo, ImportOptions, Job, Project } from "./types";

/** Loads the project and its images, at the start and after the connection was lost. */
export async function load(): Promise<void> {
  const [project, images] = await Promise.all([api.getProject(), api.getImages()]);
  store.images.value = images;
  setProject(project);
  setJob(project.job);
}

/** Loads the project again, for the numbers that change with every save. */
export async function refreshProject(): Promise<void> {
  await flush();
  setProject(await api.getProject());
}

export function setProject(project: Project): void {
  store.project.value = project;
  document.title = `${project.name} · samtailor workbench`;
  if (!project.classes.some((one) => one.name === store.activeClass.value)) {
    store.activeClass.value = project.classes[0]?.name ?? "";
  }
  const adapter = store.activeAdapter.value ?? store.adapterByProject.value[project.name] ?? defaultAdapter(project);
  store.activeAdapter.value = project.adapters.some((one) => one.name === adapter) ? adapter : null;
}

/** The newest adapter that takes clicks and is worse neither than the base model nor than the adapter before it. */
export function defaultAdapter({ adapters }: Pick<Project, "adapters">): string | null {
  const suitable = adapters.filter(
    ({ promptless, metrics, replaces }) =>
      !promptless && !worseThanBase(metrics?.clickMiou, metrics?.baseMiou) && replaces !== false,
  );
  return suitable[suitable.length - 1]?.name ?? null;
}

const worseThanBase = (miou?: number | null, baseMiou?: number | null): boolean =>
  miou != null && baseMiou != null && miou < baseMiou;

function setJob(job: Job | null): void {
  const previous = store.job.value;
  store.job.value = job;
  if (!job) return;
  if (job.id !== previous?.id) store.lossHistory.value = [];
  const last = store.lossHistory.value[store.lossHistory.value.length - 1];
  if (job.loss !== null && job.done !== last?.step) {
    store.lossHistory.value = [...store.lossHistory.value, { step: job.done, loss: job.loss }].slice(-400);
  }
  const ended = previous?.id === job.id && previous.state === "running" && job.state !== "running";
  if (ended) void handleEnd(job);
}

async function handleEnd(job: Job): Promise<void> {
  if (job.state === "failed") return store.notify(job.message ?? "The job failed.", "bad");
  await load().catch(store.notifyError);
  if (job.kind === "measure") return;
  if (job.kind === "import") {
    if (!job.report?.dry) await refresh();
  } else if (job.kind === "find") {
    handleFound(job);
    await refresh();
  } else if (job.kind === "label") {
    store.notify(
      job.state === "done" ? "Labeling finished. The least certain images come first." : "Labeling stopped.",
      "good",
    );
    await refresh();
  } else if (job.adapter && store.project.value?.adapters.some((one) => one.name === job.adapter)) {
    handleFitted(job.adapter, job);
  }
}

/** Adds what was found in the open image, as one step of undo; objects of other images are proposed by the server. */
function handleFound({ state, message, found }: Job): void {
  if (state === "stopped") return store.notify("The search was stopped. What was found until then is proposed.");
  if (found?.here && found.here.image === store.openImageId.value) {
    if (store.dialog.value === "find") store.dialog.value = null;
    const added = addNewObjects(found.here.objects);
    return store.notify(added ? `Added ${added} of ${found.here.objects.length} objects.` : "Nothing new was found in this image.");
  }
  if (store.dialog.value !== "find") store.notify(message ?? "The search has ended.", "good"); // the dialog shows it
}

/** Makes a new adapter the active one, unless the base model is better at clicks on held-out images. */
function handleFitted(name: string, { clickMiou, baseMiou, automaticMiou, replaces }: Job): void {
  if (replaces === false) {
    const active = store.activeAdapter.value ?? "the base model";
    return store.notify(`${name} is worse than the adapter before it on the same objects, so ${active} stays in use.`);
  }
  if (worseThanBase(clickMiou, baseMiou)) {
    const active = store.activeAdapter.value ?? "the base model";
    return store.notify(
      `${name} is ready to label images. For clicks it is worse than the base model on held-out images, so ${active} stays active.`,
      "good",
    );
  }
  store.chooseAdapter(name);
  const clicksUnchanged = automaticMiou !== null && clickMiou === baseMiou;
  const clicks = clicksUnchanged
    ? "It finds objects by itself. It leaves clicks unchanged, as training did not improve them."
    : "It is now the active model.";
  store.notify(`${name} is ready. ${clicks}`, "good");
}

export async function startFit(options: FitOptions): Promise<void> {
  await flush();
  try {
    setJob(await api.startFit(options));
  } catch (error) {
    store.notifyError(error);
  }
}

export async function startLabeling(adapter: string, minScore?: number): Promise<void> {
  await flush();
  try {
    setJob(await api.startLabeling(adapter, minScore));
  } catch (error) {
    store.notifyError(error);
  }
}

/** Reads a data set, and saves its annotations unless `dry`. */
export async function startImport(options: ImportOptions): Promise<void> {
  await flush();
  try {
    setJob(await api.startImport(options));
  } catch (error) {
    store.notifyError(error);
  }
}

/** Takes back the last acceptance of many images. */
export async function takeBackAcceptance(): Promise<void> {
  try {
    const undone = await api.takeBackAcceptance();
    store.notify(`${undone.length} ${undone.length === 1 ? "image is" : "images are"} proposed again.`);
    await refresh();
  } catch (error) {
    store.notifyError(error);
  }
}

/** Lists files that an import has hidden as images again. */
export async function showHidden(): Promise<void> {
  try {
    setProject(await api.showHidden());
    store.images.value = await api.getImages();
  } catch (error) {
    store.notifyError(error);
  }
}

export async function measureBase(name: string): Promise<void> {
  try {
    setJob(await api.measureBase(name));
  } catch (error) {
    store.notifyError(error);
  }
}

export async function chooseBase(name: string): Promise<void> {
  try {
    setProject(await api.chooseBase(name));
  } catch (error) {
    store.notifyError(error);
  }
}

export async function startSearch(options: FindOptions): Promise<void> {
  await flush();
  try {
    setJob(await api.startSearch(options));
  } catch (error) {
    store.notifyError(error);
  }
}

/** Ends the running fit with the best result so far. */
export const keepBest = (): void => void api.keepJob().catch(store.notifyError);

export const stopJob = (): void => void api.stopJob().catch(store.notifyError);

/** Deletes an adapter from disk. */
export async function deleteAdapter(name: string): Promise<void> {
  try {
    await api.deleteAdapter(name);
    setProject(await api.getProject());
  } catch (error) {
    store.notifyError(error);
  }
}

/** The adapter that labels images: the active one if it finds objects by itself, else the newest that does. */
export function labelingAdapter(adapters: readonly Adapter[], active: string | null): string | null {
  const automatic = adapters.filter((one) => one.automatic);
  return (automatic.find((one) => one.name === active) ?? automatic[automatic.length - 1])?.name ?? null;
}

/** Follows the server's events. What was missed while disconnected is loaded again. */
export function followEvents(): void {
  let disconnected = false;
  api.subscribe({
    onJob: setJob,
    onProject: setProject,
    onImage: updateImage,
    onDisconnect: () => {
      disconnected = true;
      store.connected.value = false;
    },
    onConnect: () => {
      store.connected.value = true;
      if (!disconnected) return;
      disconnected = false;
      retrySaving();
      void load().then(refresh, () => undefined); // the next reconnect loads again
      void saveBackups();
    },
  });
}

function updateImage(image: ImageInfo): void {
  const images = store.images.value;
  const known = images.some((one) => one.id === image.id);
  store.images.value = known ? images.map((one) => (one.id === image.id ? image : one)) : [...images, image];
  if (image.id !== store.openImageId.value) return;
  if (image.error) {
    store.editable.value = false; // it turned out to be unreadable
    store.imageState.value = image.state;
  } else void refresh();
}
