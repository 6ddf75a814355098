"""Digits as people draw them, for the mouse of a browser: strokes through points of a square of side 1."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[tuple[float, float]]:
    """Points of an ellipse around (x, y), between two angles in degrees; 0 is right, 90 is down."""
    steps = max(3, int(abs(end - start) // 24))
    angles = [math.radians(start + (end - start) * k / steps) for k in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


# digit -> its strokes
STROKES = {
    "0": [arc(0.5, 0.5, 0.22, 0.33, -90, 270)],
    "1": [[(0.55, 0.15), (0.48, 0.85)]],
    "2": [[*arc(0.5, 0.35, 0.2, 0.2, -170, 40), (0.28, 0.82), (0.78, 0.8)]],
    "3": [[*arc(0.48, 0.33, 0.2, 0.18, -150, 80), *arc(0.48, 0.67, 0.23, 0.19, -80, 150)]],
    "4": [[(0.35, 0.15), (0.28, 0.52), (0.72, 0.5)], [(0.68, 0.18), (0.62, 0.88)]],
    "5": [[(0.72, 0.18), (0.38, 0.18), (0.35, 0.46), *arc(0.48, 0.64, 0.22, 0.2, -110, 140)]],
    "6": [[(0.62, 0.14), (0.42, 0.4), *arc(0.5, 0.66, 0.17, 0.18, -170, 190)]],
    "7": [[(0.25, 0.2), (0.75, 0.2), (0.45, 0.85)]],
    "8": [[*arc(0.5, 0.32, 0.16, 0.16, 90, 450), *arc(0.5, 0.67, 0.19, 0.19, -90, 270)]],
    "9": [[*arc(0.5, 0.35, 0.18, 0.18, -20, -380), (0.67, 0.4), (0.6, 0.86)]],
}


def draw(page: "Page", digit: str, size: float = 1.0, left: float = 0.0, top: float = 0.0) -> None:
    """Draw a digit with the mouse, in a square of the drawing area: its side and its corner, of the area's width."""
    area = page.locator("#pad").bounding_box()
    assert area is not None
    for stroke in STROKES[digit]:
        points = [
            (area["x"] + area["width"] * (left + size * x), area["y"] + area["height"] * (top + size * y))
            for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=2)
        page.mouse.up()


def touch(page: "Page", digit: str) -> None:
    """Draw a digit with a finger, fast."""
    area = page.locator("#pad").bounding_box()
    assert area is not None
    device = page.context.new_cdp_session(page)
    for stroke in STROKES[digit]:
        for k, (x, y) in enumerate(stroke):
            finger = {"x": area["x"] + area["width"] * x, "y": area["y"] + area["height"] * y}
            event = {"type": "touchMove" if k else "touchStart", "touchPoints": [finger]}
            device.send("Input.dispatchTouchEvent", event)
        device.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
