<?php

// Somebody connects, or asks again: they get what there is now, and from then on what tick.php sends.
// Plain PHP, without the package; with it: Answer::text($count)->subscribe('counter')->send();
header('Wsgate-Subscribe: counter');
header('Content-Type: text/plain');
echo is_file(__DIR__ . '/count') ? file_get_contents(__DIR__ . '/count') : '0';
