// Frames of live pages are as high as the pages say that they are
addEventListener("message", ({ source, data }) => {
  for (const frame of document.querySelectorAll("iframe.live")) {
    if (frame.contentWindow === source) frame.style.height = `${data.height}px`;
  }
});
