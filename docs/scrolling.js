// Code and tables that go on beyond their boxes are tab stops, so that the keyboard can scroll them in every browser
addEventListener("DOMContentLoaded", () => {
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const box of document.querySelectorAll(".highlight pre, .table-wrapper")) observer.observe(box);
});
