"""Make the console's icons: those that it shows, out of the theme's 3 500.

    pip install fonttools brotli
    python -m docs.icons

An icon is a ligature of its name: the letters stay, and of the ligatures those named here.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "frontend/static/frontend/console-icons.woff2"
FONT = "static/unfold/fonts/material-symbols/Material-Symbols-Outlined.woff2"
LETTERS = "abcdefghijklmnopqrstuvwxyz_0123456789"
NAMES = """
    add arrow_back arrow_circle_down arrow_circle_up arrow_downward arrow_forward arrow_upward
    bar_chart block build cancel check check_circle check_small chevron_left chevron_right close
    close_small computer dark_mode dashboard data_object delete devices dock_to_left dock_to_right
    download drag_indicator edit edit_square error expand_less expand_more file_upload filter_list
    filter_list_off first_page group help history home inbox info key keyboard_arrow_down
    keyboard_arrow_right keyboard_arrow_up last_page left_panel_close left_panel_open light_mode
    lock logout manage_search menu monitoring more_horiz more_vert open_in_new pause person
    play_arrow policy preview query_stats refresh remove restart_alt save schedule science search
    settings stop swap_horiz sync token tune undo unfold_more upload visibility visibility_off
    warning
"""


def main() -> None:
    """Write the font."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    theme = find_spec("unfold")
    assert theme is not None
    assert theme.origin is not None
    font = TTFont(Path(theme.origin).parent / FONT)
    kept = _keep_ligatures(font)
    if missing := sorted(set(NAMES.split()) - set(kept)):
        raise SystemExit(f"the theme's font has no {', '.join(missing)}")
    options = subset.Options()
    options.layout_features = ["*"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=LETTERS, glyphs=list(kept.values()))
    subsetter.subset(font)
    font.flavor = "woff2"
    font.save(OUT)
    print(f"{OUT}: {len(kept)} icons, {OUT.stat().st_size} bytes")


def _keep_ligatures(font: Any) -> dict[str, str]:
    """Drop every ligature that is not named; return the glyph of each that is."""
    letter = {glyph: chr(code).lower() for code, glyph in font.getBestCmap().items()}
    kept, names = {}, NAMES.split()
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            for first, ligatures in table.ligatures.items():
                named = []
                for one in ligatures:
                    text = "".join(letter.get(glyph, "?") for glyph in (first, *one.Component))
                    if text in names:
                        named.append(one)
                        kept[text] = one.LigGlyph
                table.ligatures[first] = named
            table.ligatures = {first: named for first, named in table.ligatures.items() if named}
    return kept


if __name__ == "__main__":
    main()
