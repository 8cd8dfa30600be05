# cmake -DFILE=program -P remove_rpath.cmake: takes the library folders out of a program.
file(RPATH_REMOVE FILE ${FILE})
