"""Markdown as styled lines, while it comes: every finished block once, and the rest anew with each frame.

    blocks      lines of text → pieces, each of which is final as soon as it is there; pure
    render      a piece → styled lines of a certain width
    stream      text as it comes → finished lines and an unfinished tail
    code        the blocks of code in an answer; pure

What is shown is the same however the text was cut on its way: `stream` and a rendering of the whole take
the same pieces through the same functions.
"""
