<?php

/** Runs every tests/*Test.php: php tests/run.php. The status is 1 if a test failed. */

declare(strict_types=1);

namespace Wsgate\Tests;

require __DIR__ . '/../autoload.php';

error_reporting(E_ALL);
set_error_handler(static function (int $level, string $message, string $file, int $line): bool {
    if (!(error_reporting() & $level)) {
        return false;
    }
    throw new \ErrorException($message, 0, $level, $file, $line);
});

final class Failed extends \Exception
{
}

final class Tally
{
    public static int $passed = 0;
    public static int $failed = 0;
}

/** @param callable(): void $body */
function test(string $name, callable $body): void
{
    try {
        $body();
        Tally::$passed++;
    } catch (\Throwable $error) {
        Tally::$failed++;
        $where = $error instanceof Failed ? $error->getTrace()[0] : null;
        $place = basename($where['file'] ?? $error->getFile()) . ':' . ($where['line'] ?? $error->getLine());
        fwrite(STDERR, "FAILED $name ($place)\n  " . get_class($error) . ": {$error->getMessage()}\n");
    }
}

function same(mixed $expected, mixed $got): void
{
    if ($expected !== $got) {
        throw new Failed('expected ' . var_export($expected, true) . ', got ' . var_export($got, true));
    }
}

/**
 * @param class-string<\Throwable> $class
 * @param callable(): mixed $body
 */
function throws(string $class, callable $body, string $words = ''): \Throwable
{
    try {
        $body();
    } catch (\Throwable $error) {
        if ($error instanceof $class && str_contains($error->getMessage(), $words)) {
            return $error;
        }
        throw new Failed(get_class($error) . ": {$error->getMessage()}");
    }
    throw new Failed("no $class was thrown");
}

foreach (glob(__DIR__ . '/*Test.php') ?: [] as $file) {
    require $file;
}
echo Tally::$passed . ' passed, ' . Tally::$failed . " failed\n";
exit(Tally::$failed > 0 || Tally::$passed === 0 ? 1 : 0);
