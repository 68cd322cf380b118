"""The live terminal of the interactive chat, on prompt_toolkit: an input line that is always there, what is
being answered above it, a line of state below it.

    desk        what of it the chat is given: the console, its view and notices, what Tab knows
    console     owns the terminal while the chat runs: the only place that writes there; its two threads
    stage       the main thread's half: prompt_toolkit's application, the input, what keys do with it
    adapt       history, completion and the input's text, as prompt_toolkit takes them
    keys        which key does what
    paint       how the area at the bottom and the scrollback above it are put on the terminal
    frames      when a frame may be drawn; pure
    past        the history of what was typed, on disk, shared by all instances
    compose     what was typed as a message: blocks between \"\"\", lines to be continued; pure
    complete    what Tab offers; pure
    toolbar     the line of state; pure
    view        a turn as it is shown, and all else that the chat has to show
    notices     lines for the person, above the input
    answer      one answer while it comes: waiting, thinking, text
    several     several of them, side by side or one below the other
    watch       a table that is painted anew as long as it is watched
    rendering   markdown, loaded with the first answer
    unfailing   text as it came, where it cannot be drawn as markdown
    columns     texts in a given room, side by side; pure
"""
