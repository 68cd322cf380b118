"""Markdown as styled lines, while it comes: every finished block once, and the rest anew with each frame.

    blocks      lines of text → pieces, each of which is final as soon as it is there; pure
      syntax    what a line can be, seen alone; pure
    render      a piece → styled lines of a certain width, by way of
      inline    what stands within a paragraph: emphasis, code, links, formulas
      table     a table, in as many columns as there are
      highlight code in its colours
      wrap      clusters, words and lines, as wide as a terminal draws them; pure
    stream      text as it comes → finished lines and an unfinished tail
    code        the blocks of code in an answer; pure

What is shown is the same however the text was cut on its way: `stream` and a rendering of the whole take
the same pieces through the same functions. Blocks are found here, and only what stands in a paragraph is
parsed by markdown-it: a parser of whole texts would begin anew with each frame, and could not say what
is final. Only `blocks`, `code` and `stream` are loaded before there is something to draw.
"""
