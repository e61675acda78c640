"""Opens the pages of runs in headless Chromium, as a person without a network would.

    python check_report.py REPORT.html...

Every picture must be drawn and every chart must have a size; nothing may be asked of a network, no script may run, and the browser's log
must be empty. Needs Chromium with its driver (Debian: chromium, chromium-driver) and `pip install selenium`.
"""

import shutil
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

# What the page has, as the browser sees it.
LOOK = """
const size = element => { const r = element.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
return {
    title: document.title,
    sections: [...document.querySelectorAll('h2')].map(h => h.innerText),
    images: document.images.length,
    undrawn: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
    charts: document.querySelectorAll('svg').length,
    flat: [...document.querySelectorAll('svg')].filter(s => !size(s)).length,
    scripts: document.scripts.length,
    fetched: performance.getEntriesByType('resource').map(e => e.name).filter(name => !name.startsWith('data:')),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
};
"""


def browser():
    options = webdriver.ChromeOptions()
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "window-size=1280,1600"):
        options.add_argument(f"--{flag}")
    # No name is found: what needs a network fails, and stands in the log.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.binary_location = shutil.which("chromium") or sys.exit("no chromium here")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = shutil.which("chromedriver") or sys.exit("no chromedriver here")
    return webdriver.Chrome(options=options, service=Service(driver))


def faults(chrome, page):
    chrome.get(page.resolve().as_uri())
    seen = chrome.execute_script(LOOK)
    print(f"{page}: {seen}")
    if not seen["title"] or not seen["sections"]:
        yield "no title or no sections"
    if seen["charts"] == 0:
        yield "no chart"
    for what in ("undrawn", "flat", "scripts", "fetched"):
        if seen[what]:
            yield f"{what}: {seen[what]}"
    if seen["overflow"] > 0:
        yield f"{seen['overflow']} pixels wider than a window of 1280"
    yield from (entry["message"] for entry in chrome.get_log("browser"))


def main(pages):
    if not pages:
        sys.exit(__doc__)
    chrome = browser()
    try:
        wrong = [f"{page}: {fault}" for page in pages for fault in faults(chrome, Path(page))]
    finally:
        chrome.quit()
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(pages)} pages are as they should be")


main(sys.argv[1:])
