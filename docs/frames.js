// Frames of live pages are as high as the pages say that they are. The pages learn which theme the button of this page
// has chosen, and how many pixels of their frame are hidden above, so that a panel in it can stay in sight.

const liveFrames = () => document.querySelectorAll("iframe.live");

function tellFrame(frame) {
  const covered = document.querySelector(".mobile-header")?.getBoundingClientRect().bottom ?? 0;
  const above = Math.max(0, covered - frame.getBoundingClientRect().top);
  frame.contentWindow.postMessage({ theme: document.body.dataset.theme ?? "auto", above }, "*");
}

const tellFrames = () => liveFrames().forEach(tellFrame);

addEventListener("message", ({ source, data }) => {
  for (const frame of liveFrames()) {
    if (frame.contentWindow !== source) continue;
    frame.style.height = `${data.height}px`;
    const link = frame.nextElementSibling?.querySelector("a"); // to the whole page, which opens with the same settings
    if (data.settings && link) link.hash = data.settings;
    tellFrame(frame);
  }
});

if (liveFrames().length) {
  tellFrames(); // those that were loaded before this script
  new MutationObserver(tellFrames).observe(document.body, { attributeFilter: ["data-theme"] });
  for (const event of ["scroll", "resize"]) addEventListener(event, tellFrames, { passive: true });
}
