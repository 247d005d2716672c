"""How the admin formats dates and times: ISO style, which sorts and cannot be misread."""
