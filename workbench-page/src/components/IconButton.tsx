import { Icon, type IconName } from "./Icon";

interface Props {
  icon: IconName;
  /** Tooltip and accessible name. */
  label: string;
  disabled?: boolean;
  size?: number;
  /** In a muted color. */
  quiet?: boolean;
  pressed?: boolean;
  onClick: () => unknown;
}

/** A button that shows an icon only. */
export function IconButton({ icon, label, disabled = false, size, quiet = false, pressed, onClick }: Props) {
  return (
    <button
      type="button"
      class={quiet ? "ghost quiet" : "ghost"}
      aria-label={label}
      aria-pressed={pressed}
      title={label}
      disabled={disabled}
      onClick={() => void onClick()}
    >
      <Icon name={icon} size={size} />
    </button>
  );
}
