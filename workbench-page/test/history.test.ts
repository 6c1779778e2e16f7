import { expect, it } from "vitest";

import { History } from "../src/history";

it("undoes and redoes, and drops what was undone after a new change", () => {
  const history = new History(0);
  [1, 2, 3].forEach((value) => history.push(value));
  expect([history.undo(), history.undo(), history.value]).toEqual([true, true, 1]);
  expect([history.redo(), history.value]).toEqual([true, 2]);
  history.push(9);
  expect([history.redo(), history.value]).toEqual([false, 9]);
});
