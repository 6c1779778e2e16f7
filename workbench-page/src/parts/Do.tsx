/** A button that is a drawing only. */

import { Icon, type IconName } from "./icons";

export function Do({ icon, name, run, off = false }: { icon: IconName; name: string; run: () => unknown; off?: boolean }) {
  return (
    <button class="ghost" aria-label={name} title={name} disabled={off} onClick={() => void run()}>
      <Icon name={icon} />
    </button>
  );
}
