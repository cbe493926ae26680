"""Takes the pictures of docs/report.md from a report page: the first screen, wide and on a phone.

    python scripts/report_images.py .synpref/demo/seed-0/report.html

Needs playwright and Chromium (`scripts/services/chromium.sh install`, or one at /usr/bin/chromium).
"""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
CHROMIUM = Path("/usr/bin/chromium")
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SECTION = "decisions"
NUM_COLOURS = 128  # letters and flat colours: nobody sees the others, and files are a third


def main(page_file: str) -> None:
    """Writes report.png, report_phone.png and report_section.png."""
    address = Path(page_file).resolve().as_uri()
    with sync_playwright() as playwright:
        path = str(CHROMIUM) if CHROMIUM.exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, size in (("report", WIDE), ("report_phone", PHONE)):
            page = browser.new_page(viewport=size, color_scheme="light")
            page.goto(address)
            save(page.screenshot(), name)
        page = browser.new_page(viewport=WIDE, color_scheme="light")
        page.goto(address)
        save(opened(page, SECTION), "report_section")
        browser.close()


def opened(page: Page, section: str) -> bytes:
    """A section after somebody clicked on its title."""
    page.locator(f"#{section} > summary").click()
    return page.locator(f"#{section}").screenshot()


def save(png: bytes, name: str) -> None:
    """Write a picture in few colours."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    picture = picture.quantize(NUM_COLOURS, dither=Image.Dither.NONE)
    picture.save(IMAGES / f"{name}.png", optimize=True)
    print(f"{name}.png {(IMAGES / f'{name}.png').stat().st_size:,} bytes {picture.size}")


if __name__ == "__main__":
    main(*sys.argv[1:])
