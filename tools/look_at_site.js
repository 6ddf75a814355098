// What look_at_site.py asks of a page: inspect() once, and look() at each width and colour scheme. Both return how many
// things were checked, and a sentence for each that is wrong.

"use strict";

window.site = (() => {
  let checks = 0;
  let failures = [];

  function check(isRight, failure) {
    checks += 1;
    if (!isRight) failures.push(failure());
  }

  function report(rest) {
    const result = { checks, failures: [...new Set(failures)], ...rest };
    [checks, failures] = [0, []];
    return result;
  }

  // An element as a reader of the report finds it: <a class="reference"> "the text"
  function describe(element) {
    const names = ["id", "class", "src"].filter((name) => element.getAttribute(name));
    const tag = [element.localName, ...names.map((name) => `${name}="${element.getAttribute(name).slice(0, 60)}"`)];
    const text = element.textContent.trim().replace(/\s+/g, " ");
    return `<${tag.join(" ")}>` + (text ? ` "${text.length > 40 ? text.slice(0, 40) + "…" : text}"` : "");
  }

  const isShown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

  function* texts(without) {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (node.data.trim() && !element.closest(`script, style, noscript, template, ${without}`)) yield [node, element];
    }
  }

  // Pictures load only near the part that is seen, unless they are told to
  async function loadAll() {
    const isEmpty = (frame) => frame.contentDocument?.URL === "about:blank";
    const frames = [...document.querySelectorAll("iframe[loading=lazy]")].filter(isEmpty).map((frame) => {
      const loads = new Promise((done) => frame.addEventListener("load", done));
      frame.loading = "eager";
      return Promise.race([loads, new Promise((done) => setTimeout(done, 5000))]);
    });
    document.querySelectorAll("img").forEach((image) => (image.loading = "eager"));
    await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
    await Promise.all([document.fonts.ready, ...frames]);
  }

  function checkHeadings() {
    const headings = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")];
    const first = headings.filter((heading) => heading.localName === "h1");
    check(document.title.trim(), () => "the page has no title");
    check(document.documentElement.lang, () => "the page does not say its language");
    check(first.length === 1, () => `there must be one h1, not ${first.length}`);
    headings.forEach((heading, i) => {
      const [level, before] = [+heading.localName[1], i ? +headings[i - 1].localName[1] : 0];
      check(level <= before + 1, () => `${describe(heading)} follows a heading of level ${before}: one is left out`);
    });
  }

  function checkPictures() {
    for (const image of document.images) {
      const isOrnament = image.role === "presentation" || image.ariaHidden === "true";
      check(image.naturalWidth > 0, () => `the picture is not shown: ${describe(image)}`);
      check(isOrnament || image.alt.trim(), () => `the picture has no description (alt): ${describe(image)}`);
    }
    for (const drawing of document.querySelectorAll("svg, canvas")) {
      const isIcon = drawing.closest("a, button, label, summary, [aria-hidden=true], svg svg");
      if (isIcon || !isShown(drawing) || drawing.getBoundingClientRect().width < 32) continue;
      const name = drawing.ariaLabel || drawing.getAttribute("aria-labelledby") || drawing.querySelector(":scope > title");
      const isNamed = name && (drawing.role || drawing.localName === "canvas");
      check(isNamed, () => `the drawing has no role="img" with aria-label: ${describe(drawing)}`);
    }
  }

  function checkFormulas() {
    for (const formula of document.querySelectorAll("math")) {
      check(!/\\[a-z]|\$/i.test(formula.textContent), () => `the formula shows TeX: ${describe(formula)}`);
      check(!formula.querySelector("merror"), () => `the formula has an error in it: ${describe(formula)}`);
    }
    for (const [node, element] of texts("pre, code, kbd, samp, textarea, math")) {
      const raw = node.data.match(/\\[a-z]+|\\[()[\]]|\$\$|\$[^\s$][^$]*\$/i);
      check(!raw, () => `the text shows TeX, "${raw[0]}": ${describe(element)}`);
    }
    for (const font of document.fonts) {
      check(font.status !== "error", () => `the font does not load: ${font.family}`);
    }
  }

  // Or colours are read half-way; pages that allow no other styles allow this
  function endTransitions() {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { transition: none !important }");
    document.adoptedStyleSheets.push(sheet);
  }

  async function inspect() {
    endTransitions();
    await loadAll();
    checkHeadings();
    checkPictures();
    checkFormulas();
    const links = [...document.querySelectorAll("a[href], area[href], link[href]")].map((link) => ({
      written: link.getAttribute("href"),
      goal: new URL(link.getAttribute("href"), document.baseURI).href,
      rel: link.localName === "link" ? link.rel : null,
      element: describe(link),
    }));
    const anchors = [...document.querySelectorAll("[id], a[name]")].flatMap((element) => [element.id, element.name]);
    return report({ title: document.title.trim(), links, anchors: anchors.filter((name) => typeof name === "string" && name) });
  }

  // Colours as [red, green, blue, opacity], of which the browser paints one pixel
  const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const brush = pixel.getContext("2d", { willReadFrequently: true });
  const colors = new Map();
  function readColor(css) {
    if (!colors.has(css)) {
      brush.clearRect(0, 0, 1, 1);
      brush.fillStyle = css;
      brush.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = brush.getImageData(0, 0, 1, 1).data;
      colors.set(css, [red, green, blue, alpha / 255]);
    }
    return colors.get(css);
  }

  const over = (color, below) => below.map((value, i) => color[3] * color[i] + (1 - color[3]) * value);

  // The colour behind the contents of an element, or null where it is a picture or a gradient
  function findBackdrop(element, backdrops) {
    if (!element) {
      const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
      return isDark && getComputedStyle(document.documentElement).colorScheme.includes("dark") ? [18, 18, 18] : [255, 255, 255];
    }
    if (!backdrops.has(element)) {
      const style = getComputedStyle(element);
      const color = readColor(style.backgroundColor);
      const below = color[3] === 1 ? [0, 0, 0] : findBackdrop(element.parentElement, backdrops);
      backdrops.set(element, style.backgroundImage === "none" && below ? over(color, below) : null);
    }
    return backdrops.get(element);
  }

  // In a drawing, what lies behind a text is a shape that was painted before it
  function findShapeBehind(text) {
    const box = text.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    let color = null;
    for (const shape of text.ownerSVGElement.querySelectorAll("rect, circle, ellipse, polygon, path")) {
      const area = shape.getBoundingClientRect();
      const isBefore = shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
      const isBehind = area.left <= x && x <= area.right && area.top <= y && y <= area.bottom;
      if (isBefore && isBehind && !shape.closest("defs")) {
        const { fill } = getComputedStyle(shape);
        if (fill !== "none" && readColor(fill)[3] === 1) color = readColor(fill).slice(0, 3);
      }
    }
    return color;
  }

  function luminance(color) {
    const [red, green, blue] = color.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  // The contrast that WCAG 2 defines
  function contrast(color, other) {
    const [dark, light] = [luminance(color), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  const write = (color) => `rgb(${color.slice(0, 3).map(Math.round).join(", ")})`;

  function checkContrast() {
    const [backdrops, seen, reported] = [new Map(), new Set(), new Set()];
    for (const [, element] of texts(":disabled")) {
      const box = element.getBoundingClientRect();
      if (seen.has(element) || !isShown(element) || box.width <= 1 || box.height <= 1) continue;
      seen.add(element);
      const inDrawing = element instanceof SVGElement && element.ownerSVGElement;
      const backdrop = (inDrawing && findShapeBehind(element)) || findBackdrop(element, backdrops);
      if (!backdrop) continue;
      const style = getComputedStyle(element);
      let color = [...readColor(inDrawing ? style.fill : style.color)];
      for (let around = element; around; around = around.parentElement) color[3] *= +getComputedStyle(around).opacity;
      color = over(color, backdrop);
      const value = contrast(color, backdrop);
      const pair = `${write(color)} on ${write(backdrop)}`;
      check(value >= 4.5 || reported.has(pair), () => {
        reported.add(pair);
        return `the contrast is ${value.toFixed(1)} and must be 4.5, ${pair}: ${describe(element)}`;
      });
    }
  }

  // How much is seen of a picture on a colour: the sum of the differences between neighbouring pixels
  function measureDetail(image, color) {
    const canvas = document.createElement("canvas");
    canvas.width = 240;
    canvas.height = Math.max(1, Math.round((240 * image.naturalHeight) / image.naturalWidth));
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = write(color);
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let detail = 0;
    for (let i = 4; i < data.length; i += 4) {
      detail += Math.abs(data[i] - data[i - 4]) + Math.abs(data[i + 1] - data[i - 3]) + Math.abs(data[i + 2] - data[i - 2]);
    }
    return detail;
  }

  // A picture in black on nothing is not seen in the dark
  function checkPicturesOnBackdrop() {
    const backdrops = new Map();
    for (const image of document.images) {
      const backdrop = findBackdrop(image, backdrops);
      const isOurs = image.currentSrc.startsWith(location.origin) || image.currentSrc.startsWith("data:");
      if (!isOurs || !backdrop || !image.naturalWidth || image.width < 32 || !isShown(image)) continue;
      const [here, ...best] = [backdrop, [0, 0, 0], [255, 255, 255]].map((color) => measureDetail(image, color));
      check(here >= Math.max(...best) / 2, () => `the picture is hardly seen on ${write(backdrop)}: ${describe(image)}`);
    }
  }

  function checkWidth() {
    const root = document.scrollingElement;
    const width = document.documentElement.clientWidth;
    const isWide = root.scrollWidth > width;
    check(!isWide, () => `the page is ${root.scrollWidth} px wide, and the window ${width} px`);
    // Boxes that scroll, or that wait beside the page until they are called
    const scrolls = new Map();
    const isApart = (element) => {
      if (!element || element === document.body) return false;
      if (!scrolls.has(element)) {
        const { overflowX, position } = getComputedStyle(element);
        scrolls.set(element, /auto|scroll/.test(overflowX) || position === "fixed" || isApart(element.parentElement));
      }
      return scrolls.get(element);
    };
    const wide = new Set();
    for (const element of document.body.querySelectorAll("*")) {
      const box = element.getBoundingClientRect();
      const sticksOut = box.width > 1 && box.height > 1 && box.right > width + 1 && isShown(element);
      if (!sticksOut || isApart(element.parentElement) || isApart(element)) continue;
      wide.add(element);
      // One that holds another is only as wide as that
      wide.delete(element.parentElement);
    }
    checks += 1;
    for (const element of [...wide].slice(0, 3)) {
      const { right } = element.getBoundingClientRect();
      failures.push(`this ends at ${Math.round(right)} px, outside the window: ${describe(element)}`);
    }
  }

  // On a desktop, whole lines of code are seen; on a phone, they scroll
  const DESKTOP = 1000; // pixels
  function checkCode() {
    if (window.innerWidth < DESKTOP) return;
    for (const code of document.querySelectorAll("pre")) {
      const [width, room] = [code.scrollWidth, code.clientWidth];
      check(width <= room + 1, () => `the code is ${width} px wide, and its box ${room} px: ${describe(code)}`);
    }
  }

  // A frame holds all of its page: one that scrolls by itself catches the swipes that are meant for the page around it
  async function checkFrames() {
    for (const frame of document.querySelectorAll("iframe")) {
      const root = frame.contentDocument?.scrollingElement;
      if (!root || !isShown(frame)) continue;
      const scrolls = () => root.scrollHeight > root.clientHeight || root.scrollWidth > root.clientWidth;
      // Its height may follow that of its page, some frames later
      for (let k = 0; k < 60 && scrolls(); k++) await new Promise(requestAnimationFrame);
      check(!scrolls(), () => {
        const sizes = [root.scrollWidth, root.scrollHeight, root.clientWidth, root.clientHeight];
        return `the page in the frame has ${sizes[0]} × ${sizes[1]} px, the frame ${sizes[2]} × ${sizes[3]}: ${describe(frame)}`;
      });
    }
  }

  function checkBoxes() {
    for (const element of document.querySelectorAll("math, main img, article img")) {
      if (element.closest("details:not([open])") || !isShown(element)) continue;
      const box = element.getBoundingClientRect();
      check(box.width > 0 && box.height > 0, () => `this takes no room: ${describe(element)}`);
    }
  }

  async function look() {
    checkWidth();
    checkCode();
    await checkFrames();
    checkBoxes();
    checkContrast();
    checkPicturesOnBackdrop();
    return report({ background: write(findBackdrop(document.body, new Map()) ?? [0, 0, 0]) });
  }

  return { inspect, look };
})();
