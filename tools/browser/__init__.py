"""Open the rendered book in a browser, measure what a reader meets, and judge it by a budget.

* ``chromium``: the installed browser, its pages, and what their console and network say.
* ``measure``: one page in numbers: lengths, cut lines, formulas, folds, letters of figures.
* ``keyboard``: folds, sliders and the search, by keys alone.
* ``outside``: the accessibility engine axe and the Nu HTML checker, of versions that
  ``package-lock.json`` pins.
* ``budget``: ``budget.yml``, which says what a page may weigh and which faults are known.
* ``judge``: what is wrong with a page, in words.

``tests/test_book_in_browser.py`` runs all of it on the built book.
"""
