/** Fitting, labelling the rest, adapters: what the page starts and what the server tells while it runs. */

import * as api from "./api";
import type { Job, Picture, Project } from "./contract";
import { retry, saveLeftBehind } from "./sheets";
import * as store from "./store";
import { flush, refresh } from "./work";

/** Reads everything once, at the start and after the line was down. */
export async function load(): Promise<void> {
  const [project, pictures] = await Promise.all([api.getProject(), api.getPictures()]);
  store.pictures.value = pictures;
  takeProject(project);
  takeJob(project.job);
}

export function takeProject(project: Project): void {
  store.project.value = project;
  document.title = `${project.name} · samtailor workbench`;
  if (!project.classes.some((one) => one.name === store.activeClass.value)) {
    store.activeClass.value = project.classes[0]?.name ?? "";
  }
  const wanted = store.adapter.value ?? store.chosenAdapters.value[project.name] ?? unchosen(project);
  store.adapter.value = project.adapters.some((one) => one.name === wanted) ? wanted : null;
}

/** Who answers where nobody has chosen, as after a fit whose end no page saw: the newest that `fitted` would choose. */
export function unchosen(project: Project): string | null {
  const able = project.adapters.filter(({ promptless, figures }) => !promptless && !worse(figures?.held_out_miou, figures?.start_miou));
  return able[able.length - 1]?.name ?? null;
}

/** Whether the base did clicks better on the pictures that were held out. */
const worse = (miou?: number | null, base?: number | null): boolean => miou != null && base != null && miou < base;

/** A job as it stands; says how it ended, once. */
export function takeJob(job: Job | null): void {
  const before = store.job.value;
  store.job.value = job;
  if (!job) return;
  if (job.id !== before?.id) store.losses.value = [];
  const last = store.losses.value[store.losses.value.length - 1];
  if (job.loss !== null && job.done !== last?.done) {
    store.losses.value = [...store.losses.value, { done: job.done, loss: job.loss }].slice(-400);
  }
  if (before?.id === job.id && before.state === "running" && job.state !== "running") void ended(job);
}

async function ended(job: Job): Promise<void> {
  if (job.state === "failed") return store.say(job.message ?? "The job failed.", "bad");
  await load().catch(store.complain);
  if (job.kind === "fit" && job.adapter && store.project.value?.adapters.some((one) => one.name === job.adapter)) {
    fitted(job.adapter, job);
  }
  if (job.kind === "label") {
    store.say(job.state === "done" ? "The rest is labelled; the least certain come first." : "Labelling stopped.", "good");
    await refresh();
  }
}

/** The new adapter answers clicks, unless the base did that better on the pictures that were held out. */
function fitted(name: string, { miou, start_miou, alone_miou }: Job): void {
  if (worse(miou, start_miou)) {
    const now = store.adapter.value ?? "the base";
    return store.say(`${name} is fitted. Clicks on held-out objects are not better than the base's, so ${now} goes on answering yours; ${name} can label the rest.`, "good");
  }
  store.choose(name);
  const same = alone_miou != null && miou === start_miou;
  const clicks = same ? "Clicks stay as the base's, which nothing bettered on held-out objects; it finds objects by itself" : "It answers your clicks from now on";
  store.say(`${name} is fitted. ${clicks}.`, "good");
}

export async function fit(options: api.FitOptions): Promise<void> {
  await flush();
  try {
    takeJob(await api.startFit(options));
  } catch (error) {
    store.complain(error);
  }
}

export async function labelRest(adapter: string, threshold?: number): Promise<void> {
  await flush();
  try {
    takeJob(await api.startLabel(adapter, threshold));
  } catch (error) {
    store.complain(error);
  }
}

export const stop = (): void => void api.stopJob().catch(store.complain);

/** Forgets an adapter for good. */
export async function removeAdapter(name: string): Promise<void> {
  try {
    await api.deleteAdapter(name);
    takeProject(await api.getProject());
  } catch (error) {
    store.complain(error);
  }
}

/** The adapter that "Label the rest" uses: the chosen one if it can, else the newest that can. */
export function labeller(project: Project | null, chosen: string | null): string | null {
  const able = project?.adapters.filter((one) => one.auto) ?? [];
  return (able.find((one) => one.name === chosen) ?? able[able.length - 1])?.name ?? null;
}

/** Listens to the server. The browser reconnects by itself; what was missed meanwhile is read anew. */
export function listen(): () => void {
  const source = new EventSource("/api/events");
  const on = <T>(name: string, take: (data: T) => void) =>
    source.addEventListener(name, (event) => take(JSON.parse((event as MessageEvent<string>).data) as T));
  on<Job>("job", takeJob);
  on<Project>("project", takeProject);
  on<Picture>("picture", takePicture);
  let lost = false;
  source.onerror = () => {
    lost = true;
    store.connected.value = false;
  };
  source.onopen = () => {
    store.connected.value = true;
    if (!lost) return;
    lost = false;
    retry();
    void load().then(refresh, () => undefined); // the next reconnect tries again
    void saveLeftBehind();
  };
  return () => source.close();
}

function takePicture(row: Picture): void {
  const list = store.pictures.value;
  const known = list.some((one) => one.id === row.id);
  store.pictures.value = known ? list.map((one) => (one.id === row.id ? row : one)) : [...list, row];
  if (row.id === store.openId.value) void refresh();
}
