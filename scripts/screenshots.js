// What scripts/screenshots and tests/surfaces ask of a page: its height, and what is wrong with it.
function judge(page, width) {
  const root = page.documentElement;
  const problems = [];
  if (root.scrollWidth > width) problems.push(`${root.scrollWidth} wide`);

  // The boxes of all texts that are seen. A line of text has room above and below its letters.
  const walk = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  const boxes = [];
  while (walk.nextNode()) {
    const node = walk.currentNode;
    const parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest("title,style,script,details:not([open]) > :not(summary)")) continue;
    const range = page.createRange();
    range.selectNodeContents(node);
    const scale = parent.ownerSVGElement ? parent.getScreenCTM().a : 1;
    const size = parseFloat(page.defaultView.getComputedStyle(parent).fontSize) * scale;
    // What is scrolled out of a box of its own is not seen.
    let [from, until] = [-Infinity, Infinity];
    for (let box = parent; box && !parent.ownerSVGElement; box = box.parentElement) {
      if (page.defaultView.getComputedStyle(box).overflowX === "visible") continue;
      const edge = box.getBoundingClientRect();
      [from, until] = [Math.max(from, edge.left), Math.min(until, edge.right)];
    }
    for (const box of range.getClientRects()) {
      const slack = box.height * 0.2;
      const [left, right] = [Math.max(box.left, from) + 1, Math.min(box.right, until) - 1];
      if (left >= right) continue;
      if (size < 8) problems.push(`${size.toFixed(1)} px: ${node.textContent.trim().slice(0, 30)}`);
      boxes.push({ text: node.textContent.trim(), left, right, top: box.top + slack, bottom: box.bottom - slack });
    }
  }
  boxes.sort((a, b) => a.top - b.top);
  boxes.forEach((a, n) => {
    for (let m = n + 1; m < boxes.length && boxes[m].top < a.bottom; m++) {
      const b = boxes[m];
      if (a.left < b.right && b.left < a.right && a.bottom > b.top) {
        problems.push(`"${a.text.slice(0, 30)}" on "${b.text.slice(0, 30)}"`);
      }
    }
  });
  return { height: root.scrollHeight, problems: problems.slice(0, 20) };
}
