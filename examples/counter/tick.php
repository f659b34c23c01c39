<?php

// What cron would start once a minute: it does its work, and tells everybody who watches.

declare(strict_types=1);

require __DIR__ . '/../../php/autoload.php';

$file = __DIR__ . '/count';
$count = 1 + (int) (is_file($file) ? file_get_contents($file) : 0);
file_put_contents($file, (string) $count);

$told = (new Wsgate\Gateway('unix:' . __DIR__ . '/control.sock'))->publish('counter', (string) $count);
echo "counted to $count, told $told\n";
