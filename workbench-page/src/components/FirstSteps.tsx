/** Shown until the first fit: what to do, in three steps, and how far the user is. */

import * as store from "../store";
import { IconButton } from "./IconButton";

export function FirstSteps() {
  const { goodImages, adapters } = store.project.value!;
  if (store.firstStepsOff.value || adapters.length || store.job.value?.kind === "fit") return null;
  const usable = store.usableCount.value;
  const marked = usable > 0 || store.objects.value.length > 0 || store.draftCount.value > 0;
  const steps: { text: string; detail: string; done: boolean }[] = [
    { text: "Mark", detail: "Click an object, or drag a box around it.", done: marked },
    { text: "Accept", detail: `${Math.min(usable, goodImages)} of ${goodImages} images with objects`, done: usable >= goodImages },
    { text: "Fit", detail: "The adapter then labels the other images.", done: false },
  ];
  const current = steps.findIndex((one) => !one.done);
  return (
    <section class="first-steps" aria-label="First steps">
      <ol>
        {steps.map(({ text, detail, done }, index) => (
          <li key={text} class={done ? "done" : index === current ? "current" : ""} aria-current={index === current ? "step" : undefined}>
            <b>
              {done ? "✓" : index + 1} {text}
            </b>
            <small>{detail}</small>
          </li>
        ))}
      </ol>
      <button class="link" onClick={() => (store.dialog.value = "import")}>
        I have labels already
      </button>
      <IconButton icon="close" label="Do not show the first steps" size={15} quiet onClick={() => (store.firstStepsOff.value = true)} />
    </section>
  );
}
