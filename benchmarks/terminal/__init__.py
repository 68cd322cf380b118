"""The interactive chat as a person at a terminal waits for it; see `__main__`.

tty         a program in a pseudo-terminal, and when it showed what
server      the server it asks: an instant first token, or a long answer at a steady rate; its own process
answers     the texts of that server
start       to the prompt, and to the first key that is echoed, beside other chats
token       from Enter to the first token, above a bare curl; and to an answer from the cache
flood       a very long and fast answer: processor time, keys, scrollback, memory
"""
