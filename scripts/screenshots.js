// What scripts/screenshots asks of a page in a frame: its height, then what is wrong with it.
onload = () => {
  const frame = document.querySelector("iframe");
  const page = frame.contentDocument;
  const root = page.documentElement;
  frame.style.height = root.scrollHeight + "px";
  const problems = [];
  if (root.scrollWidth > frame.clientWidth) problems.push(`${root.scrollWidth} wide`);

  // The boxes of all texts that are seen. A line of text has room above and below its letters.
  const walk = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  const boxes = [];
  while (walk.nextNode()) {
    const node = walk.currentNode;
    const parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest("title,style,details:not([open]) > :not(summary)")) continue;
    const range = page.createRange();
    range.selectNodeContents(node);
    const scale = parent.ownerSVGElement ? parent.getScreenCTM().a : 1;
    const size = parseFloat(page.defaultView.getComputedStyle(parent).fontSize) * scale;
    if (size < 8) problems.push(`${size.toFixed(1)} px: ${node.textContent.trim().slice(0, 30)}`);
    for (const box of range.getClientRects()) {
      const slack = box.height * 0.2;
      boxes.push({ text: node.textContent.trim(), left: box.left + 1, right: box.right - 1,
        top: box.top + slack, bottom: box.bottom - slack });
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
  const told = problems.slice(0, 20).map((problem) => `; ${problem}`).join("");
  document.querySelector("pre").textContent = `${root.scrollHeight}${told}`;
};
