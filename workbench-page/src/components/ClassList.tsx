/** The classes: choose, add, rename, recolor, remove. */

import { useEffect, useState } from "preact/hooks";

import * as api from "../api";
import { flush, refresh } from "../editor";
import { refreshProject, setProject } from "../jobs";
import { chooseClass } from "../object-actions";
import * as store from "../store";
import type { ClassInfo } from "../types";
import { counted } from "./format";
import { Icon } from "./Icon";
import { IconButton } from "./IconButton";

/** Far apart, also with most kinds of color blindness; readable as an outline on light and dark images. */
const COLORS = ["#2f7de1", "#f08a24", "#18a878", "#d94f9b", "#f2cf3b", "#7b5be0", "#3cc4dd", "#b5551d", "#8fbf3f", "#e5484d"];
const MAX_LENGTH = 80;

async function saveClasses(
  classes: ClassInfo[],
  renamed: Record<string, string> = {},
  moved: Record<string, string> = {},
): Promise<void> {
  try {
    await flush();
    const project = await api.putClasses(classes, renamed, moved);
    const names = { ...renamed, ...moved };
    const renames = Object.keys(names).length > 0;
    store.activeClass.value = names[store.activeClass.value] ?? store.activeClass.value;
    if (renames) store.objects.value = store.objects.value.map((one) => ({ ...one, class: names[one.class] ?? one.class }));
    setProject(project);
    if (renames) await refresh();
  } catch (error) {
    store.notifyError(error);
  }
}

export function ClassList() {
  const classes = store.project.value!.classes;
  const [editing, setEditing] = useState<string | null>(null);
  return (
    <section aria-labelledby="classes-title">
      <h2 id="classes-title">Classes</h2>
      <ul class="classes">
        {classes.map((one, index) =>
          editing === one.name ? (
            <EditForm key={one.name} info={one} onDone={() => setEditing(null)} />
          ) : (
            <ClassRow key={one.name} info={one} index={index} onEdit={() => setEditing(one.name)} />
          ),
        )}
      </ul>
      <AddForm />
    </section>
  );
}

function ClassRow({ info, index, onEdit }: { info: ClassInfo; index: number; onEdit: () => void }) {
  const active = store.activeClass.value === info.name;
  return (
    <li class={`class${active ? " selected" : ""}`}>
      <button class="pick" aria-pressed={active} title={info.name} onClick={() => chooseClass(info.name)}>
        <i class="swatch" style={{ background: info.color }} />
        <span class="name">{info.name}</span>
        {index < 9 && <kbd>{index + 1}</kbd>}
      </button>
      <IconButton icon="pencil" label={`Edit class ${info.name}`} size={15} quiet onClick={onEdit} />
    </li>
  );
}

function AddForm() {
  const [text, setText] = useState("");
  const classes = store.project.value!.classes;
  const add = async (event: Event) => {
    event.preventDefault();
    const name = text.trim();
    if (!name) return;
    if (classes.some((one) => one.name === name)) return store.notify(`Class ${name} already exists.`);
    const used = new Set(classes.map((one) => one.color));
    const color = COLORS.find((one) => !used.has(one)) ?? COLORS[classes.length % COLORS.length]!;
    await saveClasses([...classes, { name, color }]);
    store.activeClass.value = name;
    setText("");
  };
  return (
    <form class="add" onSubmit={(event) => void add(event)}>
      <input
        aria-label="Name of the new class"
        placeholder={classes.length ? "New class" : "Name your first class"}
        value={text}
        maxLength={MAX_LENGTH}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button class="plain" aria-label="Add class" title="Add class" disabled={!text.trim()}>
        <Icon name="plus" size={16} />
      </button>
    </form>
  );
}

function EditForm({ info, onDone }: { info: ClassInfo; onDone: () => void }) {
  const classes = store.project.value!.classes;
  const [text, setText] = useState(info.name);
  const [color, setColor] = useState(info.color);
  const apply = async (event: Event) => {
    event.preventDefault();
    const name = text.trim() || info.name;
    const edited = classes.map((one) => (one.name === info.name ? { name, color } : one));
    await saveClasses(edited, name === info.name ? {} : { [info.name]: name });
    onDone();
  };
  const others = classes.filter((one) => one.name !== info.name);
  const used = useObjectCount(info.name);
  const [moving, setMoving] = useState(false);
  useEffect(() => {
    refreshProject().catch(store.notifyError);
  }, []);
  const remove = async (target?: string) => {
    await saveClasses(others, {}, target === undefined ? {} : { [info.name]: target });
    onDone();
  };
  if (moving) return <MoveForm name={info.name} used={used} others={others} onMove={remove} onCancel={() => setMoving(false)} />;
  return (
    <li>
      <form class="add" onSubmit={(event) => void apply(event)} onKeyDown={(event) => event.key === "Escape" && onDone()}>
        <input type="color" aria-label="Color" value={color} onInput={(event) => setColor(event.currentTarget.value)} />
        <input
          aria-label="Class name"
          value={text}
          maxLength={MAX_LENGTH}
          ref={(field) => field?.focus()}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button class="plain" aria-label="Apply" title="Apply">
          <Icon name="check" size={16} />
        </button>
        <IconButton icon="trash" label={`Remove class ${info.name}`} size={16} onClick={() => (used ? setMoving(true) : remove())} />
      </form>
    </li>
  );
}

/** Number of objects of a class, with the unsaved ones of the open image. */
function useObjectCount(name: string): number {
  const here = store.objects.value.filter((one) => one.class === name).length;
  return Math.max(here, store.project.value!.classObjects[name] ?? 0);
}

interface MoveFormProps {
  name: string;
  used: number;
  others: ClassInfo[];
  onMove: (target: string) => Promise<void>;
  onCancel: () => void;
}

/** Asks where the objects of a removed class go. */
function MoveForm({ name, used, others, onMove, onCancel }: MoveFormProps) {
  const [target, setTarget] = useState(others[0]?.name ?? "");
  return (
    <li class="move-class">
      <p class="hint">
        {others.length
          ? `${counted(used, "object")} of the class ${name} will get another class:`
          : `${counted(used, "object")} have the class ${name}. Add another class first, so that they can be moved.`}
      </p>
      <div class="choices">
        {others.length > 0 && (
          <>
            <select aria-label="New class of the objects" value={target} onChange={(event) => setTarget(event.currentTarget.value)}>
              {others.map((one) => (
                <option key={one.name}>{one.name}</option>
              ))}
            </select>
            <button class="primary" id="move-objects" onClick={() => void onMove(target)}>
              Move and remove
            </button>
          </>
        )}
        <button class="plain" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </li>
  );
}
