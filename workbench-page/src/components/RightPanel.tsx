import { ClassList } from "./ClassList";
import { FitPanel } from "./FitPanel";
import { ModelPicker } from "./ModelPicker";
import { ObjectList } from "./ObjectList";

export function RightPanel() {
  return (
    <aside class="right" aria-label="Classes, objects and models">
      <ClassList />
      <ObjectList />
      <ModelPicker />
      <FitPanel />
    </aside>
  );
}
