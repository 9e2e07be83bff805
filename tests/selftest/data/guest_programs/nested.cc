// Runs itself as OSv runs programs, and what that one does to the guest: `nested.so exit NUMBER|return NUMBER STATUS`.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unistd.h>
#include <unordered_map>
#include <vector>

// As OSv's include/osv/run.hh declares it.
namespace osv {
class application;
std::shared_ptr<application> run(std::string path, std::vector<std::string> args, int *return_code,
                                 bool new_program = false,
                                 const std::unordered_map<std::string, std::string> *env = nullptr);
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "child-exit"))
        exit(atoi(argv[2]));
    if (argc > 2 && !strcmp(argv[1], "child-return"))
        return atoi(argv[2]);
    usleep(300000);
    int status = -1;
    std::vector<std::string> words{argv[0], std::string("child-") + argv[1], argv[2]};
    osv::run(argv[0], words, &status);
    return argc > 3 ? atoi(argv[3]) : 1;
}
